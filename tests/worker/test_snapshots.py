"""Snapshots come back as they were, and only if they are what was stored."""

from pathlib import Path

import pytest
import torch
from sqlalchemy.exc import OperationalError

from tests.worker.world import World
from worker.equipment import Equipment
from worker.jobs.claim import claim_next
from worker.jobs.snapshot_format import read_snapshot, write_snapshot
from worker.jobs.snapshots import SnapshotStore


def test_nested_values_survive(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    snapshot = {
        "network": {
            "weight": shared,
            "view": shared[2:4],
            "half": shared.to(torch.bfloat16),
            "empty": shared[:0],
        },
        "optimizer": {0: {"step": torch.tensor(3)}, 1: {}},
        "numbers": [1, 2.5, float("inf"), None, True, ("a", "b")],
        "run": "name",
    }
    write_snapshot(snapshot, tmp_path / "snapshot")
    back = read_snapshot(tmp_path / "snapshot")
    assert back["numbers"] == snapshot["numbers"]
    assert back["run"] == "name"
    assert list(back["optimizer"]) == [0, 1]
    for name, tensor in snapshot["network"].items():
        assert torch.equal(back["network"][name], tensor)
        assert back["network"][name].dtype == tensor.dtype


def test_anything_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="object"):
        write_snapshot({"callable": object()}, tmp_path / "snapshot")


def go_on() -> None:
    return None


@pytest.fixture
def store(world: World, equipment: Equipment, tmp_path: Path) -> SnapshotStore:
    world.job_with_request(world.ready_model(world.tenant()))
    claim = claim_next(equipment.sessions, equipment.settings, equipment.name)
    assert claim is not None
    return SnapshotStore(equipment.sessions, equipment.storage, claim, tmp_path)


def test_the_last_one_counts(store: SnapshotStore) -> None:
    assert store.load(go_on) is None
    store.save({"step": 1}, go_on)
    store.save({"step": 2}, go_on)
    assert store.load(go_on) == {"step": 2}


def test_damaged_or_missing_ones_are_passed_over(
    world: World, equipment: Equipment, store: SnapshotStore
) -> None:
    store.save({"step": 1}, go_on)
    path = world.value("SELECT path FROM artifacts WHERE kind = 'snapshot'")
    equipment.storage.put(path, [b"something else"])
    assert store.load(go_on) is None
    equipment.storage.delete(path)
    assert store.load(go_on) is None


def test_while_the_database_is_away_the_run_goes_on(
    world: World, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here between the bytes and the row that refers to them."""
    store.save({"step": 1}, go_on)

    def cut(*_: object) -> None:
        raise OperationalError("UPDATE jobs", {}, ConnectionError("server closed the connection"))

    with monkeypatch.context() as patch:
        patch.setattr("worker.jobs.snapshots.mark_stored", cut)
        store.save({"step": 2}, go_on)
    assert store.load(go_on) == {"step": 1}


def test_one_that_cannot_be_read_is_passed_over(
    world: World, equipment: Equipment, store: SnapshotStore
) -> None:
    """Its digest is right, and it is none of ours: another version of this program has written it."""
    store.save({"step": 1}, go_on)
    path = world.value("SELECT path FROM artifacts WHERE kind = 'snapshot'")
    written = equipment.storage.put(path, [b"another format"])
    world.execute(
        "UPDATE artifacts SET sha256 = :digest WHERE path = :path", digest=written.sha256, path=path
    )
    assert store.load(go_on) is None


def test_without_room_the_run_goes_on(store: SnapshotStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("worker.jobs.snapshots.write_snapshot", full)
    store.save({"step": 1}, go_on)
    assert store.load(go_on) is None
