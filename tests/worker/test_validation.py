"""Validation of data sets and models: what is recorded, and what is refused with which reason."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from app.core.hashing import hash_instances
from app.core.storage import Storage, Written
from models import Dataset, RegisteredModel, Tenant
from tests.worker.tiny import HOLDOUT, NETWORK, TASKS, TRAIN, Tiny
from tests.worker.world import World
from worker.engine.contract import TaskSpec
from worker.equipment import Equipment, equip, put_away
from worker.run import run_next


@pytest.fixture
def tenant(world: World, tiny: Tiny, tmp_path: Path) -> Tenant:
    return world.tenant(roots=[str(tiny.folder), str(tmp_path)])


def dataset_row(world: World, dataset: Dataset) -> Dataset:
    with world.change() as session:
        return session.get_one(Dataset, dataset.id)


def test_a_data_set_is_described_and_indexed(
    world: World, equipment: Equipment, tiny: Tiny, tenant: Tenant
) -> None:
    dataset, job = world.dataset(tenant, str(tiny.train), str(tiny.holdout))
    assert run_next(equipment)
    assert world.job(job.id).status == "succeeded"
    ready = dataset_row(world, dataset)
    assert (ready.status, ready.instance_count, ready.holdout_count) == ("ready", TRAIN, HOLDOUT)
    assert ready.hash_key_id == "k1"
    assert ready.targets == [
        {
            "name": "colour",
            "values": "integers",
            "shape": [],
            "supervised": TRAIN,
            "kind": "classification",
            "outputs": 3,
        },
        {
            "name": "size",
            "values": "reals",
            "shape": [],
            "supervised": TRAIN - 1,
            "kind": "regression",
            "outputs": 1,
        },
    ]
    rows = {
        bytes(digest): (position, supervised)
        for digest, position, supervised in world.rows(
            "SELECT instance_hash, position, supervised FROM dataset_instances"
        )
    }
    assert len(rows) == TRAIN
    p0, p3 = hash_instances(["p0", "p3"], tenant.id, equipment.settings)
    assert rows[p0] == (0, 0b11)
    assert rows[p3] == (3, 0b01)


def write(folder: Path, **changes: Any) -> str:
    arrays = {
        "ids": np.array([f"x{number}" for number in range(60)]),
        "inputs": np.zeros((60, 6), np.float32),
        "colour": np.zeros(60, np.int64),
        "size": np.zeros(60, np.float32),
    } | changes
    path = folder / "data.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return str(path)


@pytest.mark.parametrize(
    ("train", "code"),
    [
        (lambda tiny, folder: str(folder / "nothing.npz"), "data_vanished"),
        (lambda tiny, folder: "/etc/hostname", "url_not_allowed"),
        (lambda tiny, folder: str(tiny.checkpoint), "data_unreadable"),
        (lambda tiny, folder: write(folder, ids=np.array(["same"] * 60)), "data_ids_repeat"),
        (lambda tiny, folder: write(folder, size=np.zeros(9)), "data_lengths_disagree"),
        (lambda tiny, folder: write(folder, inputs=np.full((60, 6), np.nan)), "data_not_finite"),
        (lambda tiny, folder: write(folder, colour=None, size=None), "data_targets_missing"),
        (
            lambda tiny, folder: write(folder, **{f"t{n}": np.zeros(60) for n in range(64)}),
            "data_targets_too_many",
        ),
        (lambda tiny, folder: write(folder, inputs=np.zeros((60, 7))), "holdout_shape_differs"),
        (lambda tiny, folder: str(tiny.holdout), "holdout_overlaps"),
    ],
)
def test_a_data_set_is_refused_with_a_reason(
    world: World,
    equipment: Equipment,
    tiny: Tiny,
    tenant: Tenant,
    tmp_path: Path,
    train: Callable[[Tiny, Path], str],
    code: str,
) -> None:
    dataset, job = world.dataset(tenant, train(tiny, tmp_path), str(tiny.holdout))
    assert run_next(equipment)
    rejected, failed = dataset_row(world, dataset), world.job(job.id)
    assert (rejected.status, rejected.error_code) == ("rejected", code)
    assert (failed.status, failed.error_code, failed.error_detail) == ("failed", code, rejected.error_detail)
    assert (rejected.error_detail or "").endswith(".")
    assert world.value("SELECT count(*) FROM dataset_instances") == 0


def test_a_link_out_of_the_allowed_root_is_not_followed(
    world: World, equipment: Equipment, tiny: Tiny, tenant: Tenant, tmp_path: Path
) -> None:
    """It was allowed when it was registered; it points elsewhere now."""
    link = tmp_path / "inside"
    link.symlink_to("/etc/hostname")
    dataset, _ = world.dataset(tenant, str(link), None)
    assert run_next(equipment)
    assert dataset_row(world, dataset).error_code == "url_not_allowed"


@pytest.fixture
def dataset(world: World, equipment: Equipment, tiny: Tiny, tenant: Tenant) -> Dataset:
    dataset, _ = world.dataset(tenant, str(tiny.train), str(tiny.holdout))
    assert run_next(equipment)
    return dataset


def model_row(world: World, model: RegisteredModel) -> RegisteredModel:
    with world.change() as session:
        return session.get_one(RegisteredModel, model.id)


def test_a_model_is_published_as_its_version_1(
    world: World, equipment: Equipment, tiny: Tiny, tenant: Tenant, dataset: Dataset
) -> None:
    model, job = world.model(tenant, dataset, checkpoint_url=str(tiny.checkpoint))
    assert run_next(equipment)
    assert (world.job(job.id).status, world.job(job.id).device) == ("succeeded", "cpu")
    ready = model_row(world, model)
    [(version_id, state, report)] = world.rows("SELECT id, state, report FROM model_versions")
    assert (ready.status, ready.head_version_id, state) == ("ready", version_id, "published")
    assert world.value("SELECT version_id FROM aliases WHERE name = 'latest'") == version_id
    assert dict(world.rows("SELECT name, remaining FROM model_tasks")) == {"colour": TRAIN, "size": TRAIN - 1}
    assert report["memorisation"]["colour"]["train"]["n"] == TRAIN
    [(artifact_state, size)] = world.rows(
        "SELECT state, size FROM artifacts WHERE id = (SELECT artifact_id FROM model_versions)"
    )
    assert (artifact_state, size) == ("stored", tiny.checkpoint.stat().st_size)


def test_an_attempt_that_lost_its_lease_writes_over_no_published_checkpoint(
    world: World,
    equipment: Equipment,
    tiny: Tiny,
    tenant: Tenant,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stands still before its bytes are written, and goes on when another one has published."""
    source = tmp_path / "source.safetensors"
    shutil.copy(tiny.checkpoint, source)
    model, job = world.model(tenant, dataset, checkpoint_url=str(source))
    other = equip(equipment.settings, "worker-two")
    put = Storage.put_file
    late: list[bool] = []

    def put_late(storage: Storage, path: str, file: Path, *check: Any) -> Written:
        if not late:
            late.append(True)
            world.execute(
                "UPDATE jobs SET status = 'queued', lease_expires_at = NULL WHERE id = :id", id=job.id
            )
            assert run_next(other)
            tensors = load_file(tiny.checkpoint)
            save_file({name: tensor + 1 for name, tensor in tensors.items()}, source)
        return put(storage, path, file, *check)

    monkeypatch.setattr(Storage, "put_file", put_late)
    assert run_next(equipment)
    put_away(other)
    assert model_row(world, model).status == "ready"
    [(path, digest)] = world.rows(
        "SELECT path, sha256 FROM artifacts WHERE id = (SELECT artifact_id FROM model_versions)"
    )
    assert equipment.storage.measure(path).sha256 == bytes(digest)


def damaged(tiny: Tiny, folder: Path, damage: Callable[[dict[str, Any]], None]) -> str:
    tensors = load_file(tiny.checkpoint)
    damage(tensors)
    path = folder / "damaged.safetensors"
    save_file(tensors, path)
    return str(path)


def fill_with_nan(tensors: dict[str, Any]) -> None:
    next(iter(tensors.values())).fill_(float("nan"))


@pytest.mark.parametrize(
    ("checkpoint", "code"),
    [
        (lambda tiny, folder: str(folder / "nothing"), "checkpoint_vanished"),
        (lambda tiny, folder: str(folder), "checkpoint_not_safetensors"),
        (lambda tiny, folder: str(tiny.train), "checkpoint_not_safetensors"),
        (lambda tiny, folder: damaged(tiny, folder, fill_with_nan), "checkpoint_not_finite"),
        (lambda tiny, folder: damaged(tiny, folder, lambda t: t.popitem()), "checkpoint_tensor_missing"),
    ],
)
def test_a_checkpoint_is_refused_with_a_reason(
    world: World,
    equipment: Equipment,
    tiny: Tiny,
    tenant: Tenant,
    dataset: Dataset,
    tmp_path: Path,
    checkpoint: Callable[[Tiny, Path], str],
    code: str,
) -> None:
    model, job = world.model(tenant, dataset, checkpoint_url=checkpoint(tiny, tmp_path))
    assert run_next(equipment)
    rejected = model_row(world, model)
    assert (rejected.status, rejected.error_code, rejected.head_version_id) == ("rejected", code, None)
    assert world.job(job.id).error_code == code
    assert world.value("SELECT state FROM model_versions") == "rejected"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"tasks": [TASKS[0]]}, "checkpoint_tensor_extra"),
        ({"tasks": [TaskSpec("weight", "regression", 1)]}, "data_target_missing"),
        ({"tasks": [TaskSpec("colour", "classification", 2)]}, "data_target_invalid"),
        ({"tasks": [TaskSpec("colour", "poetry", 2)]}, "task_kind_unknown"),
        ({"network": {"kind": "spline"}}, "network_spec_invalid"),
        ({"network": NETWORK | {"inputs": 7}}, "checkpoint_shape_mismatch"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_a_reason(
    world: World,
    equipment: Equipment,
    tiny: Tiny,
    tenant: Tenant,
    dataset: Dataset,
    options: dict[str, Any],
    code: str,
) -> None:
    model, _ = world.model(tenant, dataset, checkpoint_url=str(tiny.checkpoint), **options)
    assert run_next(equipment)
    rejected = model_row(world, model)
    assert (rejected.status, rejected.error_code) == ("rejected", code)


def test_a_network_that_cannot_take_the_inputs_is_refused(
    world: World, equipment: Equipment, tiny: Tiny, tenant: Tenant, tmp_path: Path
) -> None:
    train = write(tmp_path, inputs=np.zeros((60, 5), np.float32))
    holdout = tmp_path / "holdout"
    holdout.mkdir()
    ids = np.array([f"h{number}" for number in range(60)])
    dataset, _ = world.dataset(tenant, train, write(holdout, ids=ids, inputs=np.zeros((60, 5), np.float32)))
    model, _ = world.model(tenant, dataset, checkpoint_url=str(tiny.checkpoint))
    assert run_next(equipment)
    assert run_next(equipment)
    assert model_row(world, model).error_code == "network_does_not_fit_data"


@pytest.mark.parametrize("part", ["train", "holdout"])
def test_data_that_changed_since_it_was_registered_is_not_used(
    world: World, equipment: Equipment, tiny: Tiny, tenant: Tenant, tmp_path: Path, part: str
) -> None:
    copies = {}
    for name, source in (("train", tiny.train), ("holdout", tiny.holdout)):
        copies[name] = tmp_path / name
        copies[name].write_bytes(source.read_bytes())
    dataset, _ = world.dataset(tenant, str(copies["train"]), str(copies["holdout"]))
    assert run_next(equipment)
    model, _ = world.model(tenant, dataset, checkpoint_url=str(tiny.checkpoint))
    assert run_next(equipment)
    job, _ = world.job_with_request(model)
    with np.load(copies[part]) as arrays:
        changed = dict(arrays)
    changed["inputs"][0] += 1
    with copies[part].open("wb") as file:
        np.savez(file, **changed)
    assert run_next(equipment)
    assert world.job(job.id).error_code == "data_changed"
    copies[part].unlink()
    job, _ = world.job_with_request(model)
    assert run_next(equipment)
    assert world.job(job.id).error_code == "data_vanished"
    assert world.value("SELECT count(*) FROM model_versions") == 1


def test_a_base_whose_bytes_changed_is_not_used(
    world: World, equipment: Equipment, model: RegisteredModel
) -> None:
    path = world.value("SELECT path FROM artifacts")
    stored = Path(equipment.settings.storage_url.removeprefix("file://")) / path
    stored.write_bytes(stored.read_bytes()[:-4] + b"\0\0\0\0")
    job, _ = world.job_with_request(model)
    assert run_next(equipment)
    assert world.job(job.id).error_code == "checkpoint_damaged"
