"""A data set in the MTAN layout and a network with dense tasks, through the whole service."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.acceptance.conftest import Service, delete
from worker.engine.checkpoint import new_layout, write_checkpoint
from worker.engine.contract import Recipe, Silent, TaskSpec
from worker.engine.data import open_data
from worker.engine.networks import build_network
from worker.engine.training import train

NETWORK: dict[str, Any] = {"kind": "segnet", "widths": [4]}
TASKS: list[dict[str, Any]] = [
    {"name": "segmentation", "kind": "segmentation", "outputs": 13},
    {"name": "depth", "kind": "depth", "outputs": 1},
]
RECIPE: dict[str, Any] = {"learning_rate": 0.003, "epochs": 6, "batch_size": 8}


def _write_split(folder: Path, count: int, seed: int) -> None:
    """`image|label|depth|normal/{i}.npy`, as NYUv2 is handed around: -1 is no label, 0 is no depth."""
    generator = np.random.default_rng(seed)
    for name in ("image", "label", "depth", "normal"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        label = generator.integers(-1, 13, (8, 8)).repeat(2, 0).repeat(2, 1)
        image = np.stack([label / 13, generator.random((16, 16)), label % 3 / 3], axis=-1)
        normal = generator.standard_normal((16, 16, 3))
        arrays = {
            "image": image.clip(0, 1),
            "label": label.astype(np.float32),
            "depth": (1 + generator.random((16, 16, 1))) * (label[..., None] % 5 > 0),
            "normal": normal / np.linalg.norm(normal, axis=-1, keepdims=True),
        }
        for name, array in arrays.items():
            np.save(folder / name / f"{index}.npy", array.astype(np.float32))


def test_dense_supervision_is_forgotten_over_http(service: Service, tmp_path: Path) -> None:
    name = f"rooms-{uuid.uuid4().hex[:8]}"
    root = service.data / name
    _write_split(root / "train", 60, seed=1)
    _write_split(root / "val", 60, seed=2)
    specs = tuple(TaskSpec(**task) for task in TASKS)
    data = open_data("nyuv2", root / "train", specs)
    network = build_network(NETWORK, specs, torch.Generator().manual_seed(1))
    recipe, cpu = Recipe(**RECIPE), torch.device("cpu")
    train(network, specs, data, data.present, recipe, seed=1, device=cpu, monitor=Silent())
    write_checkpoint(tmp_path / "rooms.safetensors", network, new_layout(network))

    urls = {"url": f"file://{root}/train", "holdout_url": f"file://{root}/val"}
    service.client.post("/v1/datasets", {"name": name, "format": "nyuv2", **urls})
    dataset = service.client.follow(f"/v1/datasets/{name}", lambda _: None)
    assert dataset["status"] == "ready", dataset
    assert {target["name"]: target["kind"] for target in dataset["targets"]} == {
        "segmentation": "segmentation",
        "depth": "depth",
        "normal": "normals",
    }
    model = {"name": name, "network": NETWORK, "tasks": TASKS, "dataset": name, "recipe": RECIPE}
    service.client.post("/v1/models", model | {"policy": {"visits": 1, "gates": {"retained_drop": 100}}})
    service.client.upload_checkpoint(name, tmp_path / "rooms.safetensors")
    ready = service.client.follow(f"/v1/models/{name}", lambda _: None)
    assert ready["status"] == "ready", ready

    done = delete(service, model=name, instances=["train/3", "train/7"], tasks=["depth"])
    assert (done["status"], done["result_version"]) == ("succeeded", 2), done
    report = service.client.get(f"/v1/models/{name}/versions/2")["report"]
    assert report["tasks"]["depth"]["forget"]["after"]["n"] == 2
    assert report["tasks"]["segmentation"]["named"] is False
