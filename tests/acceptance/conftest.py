"""One embedded deployment for all acceptance tests, which one process runs, and a small trained model to send
to it."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.standalone.deployment import EmbeddedDeployment
from tests.acceptance.plain_http import Client
from worker.engine.checkpoint import new_layout, write_checkpoint
from worker.engine.contract import Recipe, Silent, TaskSpec
from worker.engine.data import open_data
from worker.engine.networks import build_network
from worker.engine.training import train

NETWORK: dict[str, Any] = {"kind": "mlp", "inputs": 6, "hidden": [48]}
TASKS: list[dict[str, Any]] = [
    {"name": "colour", "kind": "classification", "outputs": 3},
    {"name": "weight", "kind": "regression", "outputs": 1},
]
RECIPE: dict[str, Any] = {"learning_rate": 0.01, "epochs": 40, "batch_size": 16}
POLICY: dict[str, Any] = {"visits": 20}
"""A third of the usual budget: how well it is forgotten is measured elsewhere."""
INSTANCES = 160
HOLDOUT = 140


@dataclass(frozen=True)
class Service:
    """A running deployment, a client with all scopes, and the folder that the service may read."""

    deployment: EmbeddedDeployment
    client: Client
    key: str
    data: Path

    @property
    def url(self) -> str:
        return self.deployment.url

    def logs(self) -> str:
        return "".join(file.read_text() for file in sorted(self.deployment.folder.logs.glob("*.log")))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("deployment")
    with pytest.MonkeyPatch.context() as environment:
        # Of a hundred and sixty instances some tests take more than would go without an approval.
        environment.setenv("LETHE_APPROVAL_SHARE", "1")
        environment.setenv("LETHE_APPROVAL_WINDOW_SHARE", "1")
        yield from _service(folder)


def _service(folder: Path) -> Iterator[Service]:
    with EmbeddedDeployment(folder, durable=False) as deployment:
        assert deployment.api_key is not None
        client = Client(deployment.url, deployment.api_key)
        yield Service(deployment, client, deployment.api_key, deployment.folder.data)
        client.close()


@dataclass(frozen=True)
class Sample:
    """Small data in the format "arrays" and a checkpoint of a network trained on them."""

    train: Path
    holdout: Path
    checkpoint: Path
    ids: list[str]

    @property
    def dataset(self) -> dict[str, Any]:
        return {
            "format": "arrays",
            "url": f"file://{self.train}",
            "holdout_url": f"file://{self.holdout}",
        }


def write_arrays(folder: Path, prefix: str, count: int, seed: int) -> list[str]:
    """Instances whose targets are half signal and half noise, so that a network must learn some by heart."""
    generator = np.random.default_rng(seed)
    inputs = generator.standard_normal((count, 6)).astype(np.float32)
    ids = [f"{prefix}-{number}" for number in range(count)]
    folder.mkdir(parents=True)
    colour = np.where(
        generator.random(count) < 0.4, generator.integers(0, 3, count), np.digitize(inputs[:, 0], [-0.4, 0.4])
    )
    arrays = {
        "ids": np.array(ids),
        "inputs": inputs,
        "colour": colour.astype(np.int64),
        "weight": (inputs[:, 1] + 0.7 * generator.standard_normal(count)).astype(np.float32),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return ids


def make_sample(folder: Path, seed: int = 0) -> Sample:
    ids = write_arrays(folder / "train", "subject", INSTANCES, seed)
    write_arrays(folder / "holdout", "other", HOLDOUT, seed + 1)
    checkpoint = folder / "checkpoint.safetensors"
    checkpoint.write_bytes(_trained(seed))
    return Sample(folder / "train", folder / "holdout", checkpoint, ids)


@cache
def _trained(seed: int) -> bytes:
    """The checkpoint of a network trained on the instances of `seed`, wherever they are written."""
    specs = tuple(TaskSpec(**task) for task in TASKS)
    with tempfile.TemporaryDirectory() as folder:
        write_arrays(Path(folder) / "train", "subject", INSTANCES, seed)
        data = open_data("arrays", Path(folder) / "train", specs)
        network = build_network(NETWORK, specs, torch.Generator().manual_seed(seed))
        train(
            network,
            specs,
            data,
            data.present,
            Recipe(**RECIPE),
            seed=seed,
            device=torch.device("cpu"),
            monitor=Silent(),
        )
        checkpoint = Path(folder) / "checkpoint.safetensors"
        write_checkpoint(checkpoint, network, new_layout(network, {"made": "for a test"}))
        return checkpoint.read_bytes()


def register(service: Service, sample: Sample, name: str) -> dict[str, Any]:
    """Register the sample under `name` and wait until the model is settled."""
    service.client.post("/v1/datasets", {"name": name, **sample.dataset})
    dataset = service.client.follow(f"/v1/datasets/{name}", lambda _: None)
    assert dataset["status"] == "ready", dataset
    model = {"name": name, "network": NETWORK, "tasks": TASKS, "dataset": name, "recipe": RECIPE}
    service.client.post("/v1/models", model | {"policy": POLICY})
    service.client.upload_checkpoint(name, sample.checkpoint)
    return service.client.follow(f"/v1/models/{name}", lambda _: None)


def delete(service: Service, **body: Any) -> dict[str, Any]:
    """Post a deletion request and wait until it is settled; the job is under `job_detail`, for messages."""
    request = service.client.post("/v1/deletion-requests", body)
    settled = service.client.follow(f"/v1/deletion-requests/{request['id']}", lambda _: None)
    job = service.client.get(f"/v1/jobs/{settled['job']}") if settled["job"] else {}
    return settled | {"job_detail": job.get("error_detail")}
