"""From registration to a downloaded version, through HTTP, with every process real."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.acceptance.conftest import Sample, Service, delete, make_sample, register
from tests.acceptance.plain_http import Refused


@pytest.fixture
def name() -> str:
    return f"m-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def sample(service: Service, name: str) -> Sample:
    return make_sample(service.data / name)


@dataclass(frozen=True)
class Forgotten:
    """A model that has forgotten `colour` of sixty instances, in one job asked for under `request_id`."""

    name: str
    sample: Sample
    request_id: str
    settled: dict[str, Any]


@pytest.fixture(scope="module")
def forgotten(service: Service) -> Forgotten:
    name, request_id = f"m-{uuid.uuid4().hex[:8]}", f"trace-{uuid.uuid4().hex}"
    sample = make_sample(service.data / name)
    assert register(service, sample, name)["status"] == "ready"
    asked = {"model": name, "instances": sample.ids[:60], "tasks": ["colour"]}
    request = service.client.post("/v1/deletion-requests", asked, **{"X-Request-ID": request_id})
    settled = service.client.follow(f"/v1/deletion-requests/{request['id']}", lambda _: None)
    assert settled["status"] == "succeeded", settled
    return Forgotten(name, sample, request_id, settled)


def _layout(file: Path) -> tuple[dict[str, tuple[str, list[int]]], dict[str, str]]:
    with safe_open(file, framework="pt") as content:
        tensors = {
            key: (content.get_slice(key).get_dtype(), content.get_slice(key).get_shape())
            for key in content.keys()  # noqa: SIM118 (no mapping)
        }
        return tensors, content.metadata()


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    with safe_open(file, framework="pt") as content:
        return {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118


def test_full_then_partial_then_exact(service: Service, sample: Sample, name: str, tmp_path: Path) -> None:
    model = register(service, sample, name)
    assert model["status"] == "ready", model

    full = delete(service, model=name, instances=sample.ids[:40], tasks="all", reference="case-1")
    assert (full["status"], full["result_version"]) == ("succeeded", 2), full

    partial = delete(service, model=name, instances=sample.ids[40:60], tasks=["colour"])
    assert (partial["status"], partial["result_version"]) == ("succeeded", 3), partial

    exact = delete(service, model=name, instances=[sample.ids[70]], tasks="all", method="retrain")
    assert (exact["status"], exact["result_version"]) == ("succeeded", 4), exact

    files = {}
    for number in (2, 3, 4):
        files[number] = tmp_path / f"{number}.safetensors"
        digest = service.client.download_checkpoint(name, number, files[number])
        version = service.client.get(f"/v1/models/{name}/versions/{number}")
        assert version["digest"] == f"sha256:{digest}"
        assert version["parent"] == number - 1
        assert _layout(files[number]) == _layout(sample.checkpoint)

    assert service.client.get(f"/v1/models/{name}/versions/latest")["number"] == 4
    assert service.client.get(f"/v1/models/{name}/versions/4")["guarantee"] == "exact"
    assert service.client.get(f"/v1/models/{name}/versions/3")["guarantee"] == "empirical"

    before, after = _tensors(files[2]), _tensors(files[3])
    unnamed = [key for key in before if "weight" in key.split(".") and key.startswith("heads.weight.")]
    assert unnamed
    assert all(torch.equal(before[key], after[key]) for key in unnamed)
    assert any(not torch.equal(before[key], after[key]) for key in before if key.startswith("shared."))


def test_the_version_records_what_was_measured(service: Service, forgotten: Forgotten) -> None:
    version = service.client.get(f"/v1/models/{forgotten.name}/versions/2")
    report = version["report"]
    colour, weight = report["tasks"]["colour"], report["tasks"]["weight"]
    for part in ("forget", "retain", "holdout"):
        for when in ("before", "after"):
            found = colour[part][when]
            assert found["low"] <= found["value"] <= found["high"]
    assert colour["forget"]["after"]["n"] == 60
    assert colour["forget"]["after"]["value"] < colour["forget"]["before"]["value"]
    assert colour["membership"]["after"]["members"] == 60
    assert colour["membership"]["after"]["standard_error"] > 0
    assert weight["named"] is False
    assert weight["unnamed_same_instances"]["after"]["n"] == 60
    assert report["uis"] >= 0
    run = report["run"]
    assert run["visits_per_forget_instance"] > 0
    assert run["passes"] > 0
    assert run["peak_memory_bytes"] >= 0
    assert set(run["seconds"]) == {"loading", "unlearning", "evaluating"}
    assert run["device"].startswith("cpu")
    assert run["digests"]["new"] == version["digest"]
    assert isinstance(run["seed"], int)


def test_what_is_already_forgotten_starts_no_run(service: Service, forgotten: Forgotten) -> None:
    before = _jobs(service, forgotten.name)
    again = service.client.post(
        "/v1/deletion-requests",
        {"model": forgotten.name, "instances": forgotten.sample.ids[5:10], "tasks": ["colour"]},
    )
    assert again["status"] == "succeeded"
    assert again["already_forgotten"] == 5
    assert again["result_version"] == 2
    assert [job["status"] for job in before] == ["succeeded"]
    assert _jobs(service, forgotten.name) == before


def test_taking_all_of_a_tasks_supervision_is_refused(service: Service, forgotten: Forgotten) -> None:
    before = _jobs(service, forgotten.name)
    with pytest.raises(Refused, match="would_erase_task"):
        service.client.post(
            "/v1/deletion-requests",
            {"model": forgotten.name, "instances": forgotten.sample.ids, "tasks": ["weight"]},
        )
    assert _jobs(service, forgotten.name) == before


def test_data_that_changed_fail_the_job_and_nothing_else(service: Service, sample: Sample, name: str) -> None:
    register(service, sample, name)
    file = sample.train / "weight.npy"
    original = file.read_bytes()
    file.write_bytes(original[:-4] + b"\0\0\0\1")
    failed = delete(service, model=name, instances=sample.ids[:10], tasks="all")
    assert failed["status"] == "failed"
    assert failed["error_code"] == "data_changed"
    assert service.client.get(f"/v1/models/{name}/versions/latest")["number"] == 1

    file.write_bytes(original)
    service.client.post(f"/v1/jobs/{failed['job']}/retry", {})
    done = service.client.follow(f"/v1/deletion-requests/{failed['id']}", lambda _: None)
    assert (done["status"], done["result_version"]) == ("succeeded", 2), done


def test_no_log_names_an_instance_and_the_request_id_reaches_the_worker(
    service: Service, forgotten: Forgotten
) -> None:
    logs = service.deployment.folder.logs
    assert forgotten.request_id in (logs / "api.log").read_text()
    assert forgotten.request_id in (logs / "worker1.log").read_text()
    everything = service.logs()
    assert not any(f'"{instance}"' in everything for instance in forgotten.sample.ids)
    assert "subject-" not in everything


def _jobs(service: Service, model: str) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = service.client.get(f"/v1/jobs?model={model}")["data"]
    return [job for job in jobs if job["kind"] == "unlearn"]
