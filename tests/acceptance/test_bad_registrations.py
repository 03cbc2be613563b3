"""Data and checkpoints that cannot be used: each is refused with its own code, and can be sent again."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.acceptance.conftest import (
    NETWORK,
    RECIPE,
    TASKS,
    Sample,
    Service,
    make_sample,
    write_arrays,
)


@pytest.fixture(scope="module")
def sample(service: Service) -> Sample:
    return make_sample(service.data / f"bad-{uuid.uuid4().hex[:8]}")


def _edited(sample: Sample, edit: Callable[[dict[str, torch.Tensor]], None], file: Path) -> None:
    tensors = load_file(sample.checkpoint)
    edit(tensors)
    save_file(tensors, file)


def _truncate(sample: Sample, file: Path) -> None:
    file.write_bytes(sample.checkpoint.read_bytes()[:-64])


def _pickle(sample: Sample, file: Path) -> None:
    torch.save(load_file(sample.checkpoint), file)


def _another_shape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["heads.colour.bias"] = torch.zeros(4)


def _missing(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["heads.colour.bias"]


def _extra(tensors: dict[str, torch.Tensor]) -> None:
    tensors["heads.other.bias"] = torch.zeros(4)


def _not_a_number(tensors: dict[str, torch.Tensor]) -> None:
    tensors["heads.colour.bias"][0] = float("nan")


def test_every_bad_checkpoint_is_rejected_and_the_right_one_then_taken(
    service: Service, sample: Sample, tmp_path: Path
) -> None:
    name = f"bad-{uuid.uuid4().hex[:8]}"
    service.client.post("/v1/datasets", {"name": name, **sample.dataset})
    service.client.follow(f"/v1/datasets/{name}", lambda _: None)
    model = {"name": name, "network": NETWORK, "tasks": TASKS, "dataset": name, "recipe": RECIPE}
    service.client.post("/v1/models", model)
    bad: dict[str, Callable[[Path], None]] = {
        "checkpoint_not_safetensors": lambda file: _pickle(sample, file),
        "checkpoint_truncated": lambda file: _truncate(sample, file),
        "checkpoint_shape_mismatch": lambda file: _edited(sample, _another_shape, file),
        "checkpoint_tensor_missing": lambda file: _edited(sample, _missing, file),
        "checkpoint_tensor_extra": lambda file: _edited(sample, _extra, file),
        "checkpoint_not_finite": lambda file: _edited(sample, _not_a_number, file),
    }
    found = {}
    for code, make in bad.items():
        file = tmp_path / f"{code}.safetensors"
        make(file)
        service.client.upload_checkpoint(name, file)
        settled = service.client.follow(f"/v1/models/{name}", lambda _: None)
        assert settled["status"] == "rejected"
        found[code] = settled["error_code"]
    assert found == {code: code for code in bad}

    service.client.upload_checkpoint(name, sample.checkpoint)
    settled = service.client.follow(f"/v1/models/{name}", lambda _: None)
    assert settled["status"] == "ready", settled


def _repeat_an_id(folder: Path) -> None:
    ids = np.load(folder / "ids.npy")
    ids[3] = ids[4]
    np.save(folder / "ids.npy", ids)


def _shorten_a_target(folder: Path) -> None:
    np.save(folder / "weight.npy", np.load(folder / "weight.npy")[:-1])


def _pickle_the_ids(folder: Path) -> None:
    np.save(folder / "ids.npy", np.load(folder / "ids.npy").astype(object), allow_pickle=True)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_repeat_an_id, "data_ids_repeat"),
        (_shorten_a_target, "data_lengths_disagree"),
        (_pickle_the_ids, "data_unreadable"),
        (shutil.rmtree, "data_vanished"),
    ],
)
def test_bad_data_are_rejected_and_can_be_registered_again(
    service: Service, spoil: Callable[[Path], None], code: str
) -> None:
    name = f"data-{uuid.uuid4().hex[:8]}"
    folder = service.data / name
    write_arrays(folder / "train", "subject", 60, seed=1)
    write_arrays(folder / "holdout", "other", 60, seed=2)
    shutil.copytree(folder / "train", folder / "good")
    spoil(folder / "train")
    body = {
        "name": name,
        "format": "arrays",
        "url": f"file://{folder}/train",
        "holdout_url": f"file://{folder}/holdout",
    }
    service.client.post("/v1/datasets", body)
    rejected = service.client.follow(f"/v1/datasets/{name}", lambda _: None)
    assert (rejected["status"], rejected["error_code"]) == ("rejected", code)
    assert "subject-" not in rejected["error_detail"]

    shutil.rmtree(folder / "train", ignore_errors=True)
    (folder / "good").rename(folder / "train")
    service.client.post("/v1/datasets", body)
    assert service.client.follow(f"/v1/datasets/{name}", lambda _: None)["status"] == "ready"


def test_a_holdout_too_small_to_calibrate(service: Service, sample: Sample) -> None:
    name = f"small-{uuid.uuid4().hex[:8]}"
    write_arrays(service.data / name / "holdout", "other", 20, seed=2)
    body = {"name": name, **sample.dataset, "holdout_url": f"file://{service.data}/{name}/holdout"}
    service.client.post("/v1/datasets", body)
    assert service.client.follow(f"/v1/datasets/{name}", lambda _: None)["status"] == "ready"
    model = {"name": name, "network": NETWORK, "tasks": TASKS, "dataset": name, "recipe": RECIPE}
    service.client.post("/v1/models", model)
    service.client.upload_checkpoint(name, sample.checkpoint)
    rejected = service.client.follow(f"/v1/models/{name}", lambda _: None)
    assert (rejected["status"], rejected["error_code"]) == ("rejected", "holdout_too_small")
