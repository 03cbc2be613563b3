"""Rows are deleted at the source, and the model moved to the new snapshot: what can still be forgotten."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import sessionmaker

from app.auth.caller import Caller
from app.certificates.facts import read_facts
from app.certificates.unlearning import unlearning_predicate
from app.core.database import async_engine
from app.core.hashing import hash_instances
from app.core.sight import SeeingSessions
from app.registered_models import refreshing
from app.relay.adoption import adopt_requests
from models import Dataset, RegisteredModel, Tenant
from tests.worker.tiny import TRAIN, Tiny
from tests.worker.world import World
from worker.equipment import Equipment
from worker.run import run_next


def snapshot(
    world: World, equipment: Equipment, model: RegisteredModel, tiny: Tiny, folder: Path, gone: list[str]
) -> Dataset:
    """The same data without these rows, registered and validated."""
    with np.load(tiny.train) as data:
        kept = ~np.isin(data["ids"], gone)
        np.savez(folder / "newer.npz", **{name: data[name][kept] for name in data.files})
    world.execute(
        "UPDATE tenants SET allowed_roots = allowed_roots || CAST(:root AS text)", root=f"file://{folder}"
    )
    with world.change() as session:
        tenant = session.get_one(Tenant, model.tenant_id)
    newer, _ = world.dataset(tenant, str(folder / "newer.npz"), str(tiny.holdout))
    world.execute(
        "UPDATE datasets SET refreshes_id = :old WHERE id = :new", old=model.dataset_id, new=newer.id
    )
    assert run_next(equipment)
    with world.change() as session:
        return session.get_one(Dataset, newer.id)


def move(equipment: Equipment, model: RegisteredModel, newer: Dataset) -> None:
    """As the API does."""

    async def moved() -> None:
        engine = async_engine(equipment.settings)
        caller = Caller(model.tenant_id, uuid.uuid4(), "k", frozenset({"admin"}), "r")
        async with SeeingSessions(async_sessionmaker(engine), caller.sight).begin() as session:
            await refreshing.move(session, caller, model.name, newer.name)
        await engine.dispose()

    asyncio.run(moved())


def ledger(world: World) -> set[tuple[bytes, str]]:
    rows = world.rows("SELECT instance_hash, task FROM forgotten_supervision WHERE version_id IS NOT NULL")
    return {(bytes(digest), task) for digest, task in rows}


def remaining(world: World) -> dict[str, int]:
    return dict(world.rows("SELECT name, remaining FROM model_tasks"))


@pytest.fixture
def refreshed(
    world: World, equipment: Equipment, model: RegisteredModel, tiny: Tiny, tmp_path: Path
) -> dict[str, Any]:
    """p0 and p1 were forgotten; then a request for p2 and p5 came; p0, p2, p3 were deleted at the source."""
    world.job_with_request(model, instances=["p0", "p1"])
    assert run_next(equipment)
    newer = snapshot(world, equipment, model, tiny, tmp_path, ["p0", "p2", "p3"])
    job = world.open_job(model, method="interference_aware", accepts_requests=True)
    waiting = world.deletion(model, job, instances=["p2", "p5"])
    move(equipment, model, newer)
    return {"newer": newer, "waiting": waiting, "job": job}


def test_what_is_gone_at_the_source_is_retrained_and_the_ledger_goes_on(
    world: World, equipment: Equipment, model: RegisteredModel, refreshed: dict[str, Any]
) -> None:
    waiting, newer = refreshed["waiting"], refreshed["newer"]
    # p1 alone is both forgotten and still in the data.
    assert remaining(world) == {"colour": TRAIN - 3 - 1, "size": TRAIN - 1 - 2 - 1}
    moved = world.request(waiting.id)
    assert (moved.method, moved.job_id, moved.dataset_id) == ("retrain", None, newer.id)
    assert adopt_requests(sessionmaker(world.engine)) == 1
    while run_next(equipment):  # the job that was left without a request among them
        pass
    assert world.job(refreshed["job"].id).status == "cancelled"
    done = world.request(waiting.id)
    assert (done.status, done.error_detail) == ("succeeded", None)

    version = world.rows(
        "SELECT guarantee, report FROM model_versions WHERE id = :v", v=done.result_version_id
    )
    [(guarantee, report)] = version
    assert guarantee == "exact"
    assert report["run"]["gone_at_source"] == {str(waiting.id): 1}
    assert report["run"]["digests"]["data"] == newer.fingerprint
    names = hash_instances(["p0", "p1", "p2", "p5"], model.tenant_id, equipment.settings)
    assert ledger(world) == {(name, task) for name in names for task in ("colour", "size")}
    assert remaining(world) == {"colour": TRAIN - 3 - 2, "size": TRAIN - 1 - 2 - 2}

    ghost, parent = hash_instances(["ghost"], model.tenant_id, equipment.settings), uuid.uuid4()
    world.execute(
        "INSERT INTO deletion_requests (id, tenant_id, dataset_id, tasks, scope, method, instance_count,"
        " hash_key_id) SELECT :p, tenant_id, dataset_id, tasks, scope, method, 3, hash_key_id"
        " FROM deletion_requests WHERE id = :id",
        p=parent,
        id=waiting.id,
    )
    world.execute(
        "INSERT INTO deletion_request_items SELECT :p, hash, :t FROM unnest(:all) AS hash",
        p=parent,
        t=model.tenant_id,
        all=[*names[2:], *ghost],
    )
    world.execute("UPDATE deletion_requests SET parent_id = :p WHERE id = :id", p=parent, id=waiting.id)
    with world.change() as session:
        told = unlearning_predicate(read_facts(session, waiting.id), "http://lethe")
    assert told["data"]["gone_at_source"] == 1
    assert told["data"]["gone_hashes"] == [names[2].hex()]
    assert told["request"]["never_had"] == {"count": 1, "hashes": [ghost[0].hex()]}
    assert any("Anything about 1 more instances" in sentence for sentence in told["does_not_prove"])
    assert told["supervision"]["forgotten_by_this_version"] == 4
    assert any("deleted at the source before this" in sentence for sentence in told["does_not_prove"])
    assert "gone_at_source" not in told["run"]


def test_a_request_of_which_everything_is_gone_is_retrained_too(
    world: World, equipment: Equipment, model: RegisteredModel, refreshed: dict[str, Any]
) -> None:
    world.execute("UPDATE jobs SET status = 'cancelled', accepts_requests = false WHERE status = 'queued'")
    world.execute("UPDATE deletion_requests SET status = 'cancelled' WHERE status = 'queued'")
    before = world.value("SELECT count(*) FROM model_versions")
    _, request = world.job_with_request(model, instances=["p2", "p3"])
    assert run_next(equipment)
    done = world.request(request.id)
    assert (done.status, done.error_detail) == ("succeeded", None)
    assert world.value("SELECT count(*) FROM model_versions") == before + 1
    assert (hash_instances(["p2"], model.tenant_id, equipment.settings)[0], "size") in ledger(world)
    _, again = world.job_with_request(model, instances=["p2", "p3"])  # p3 never had a size
    assert run_next(equipment)
    assert world.request(again.id).result_version_id == done.result_version_id, "forgotten already"


def test_what_is_gone_is_left_to_retraining_and_the_rest_of_the_job_is_done(
    world: World, equipment: Equipment, model: RegisteredModel, refreshed: dict[str, Any]
) -> None:
    """As requests come that failed before the rows were gone, and are tried again."""
    job = world.open_job(model, method="interference_aware")
    gone = world.deletion(model, job, instances=["p2"])
    here = world.deletion(model, job, instances=["p9"])
    while run_next(equipment):
        pass
    assert (world.request(here.id).status, world.job(job.id).status) == ("succeeded", "succeeded")
    left = world.request(gone.id)
    assert (left.status, left.method, left.job_id) == ("queued", "retrain", None)
    told = "SELECT data ->> 'reason' FROM events WHERE subject_id = :id AND type = 'method.changed'"
    assert world.rows(told, id=gone.id) == [("gone_at_source",)]
    adopt_requests(sessionmaker(world.engine))
    assert run_next(equipment)
    done = world.request(gone.id)
    assert (done.status, done.error_detail) == ("succeeded", None)
    [(guarantee, report)] = world.rows(
        "SELECT guarantee, report FROM model_versions WHERE id = :v", v=done.result_version_id
    )
    assert (guarantee, report["run"]["gone_at_source"][str(gone.id)]) == ("exact", 1)


def test_a_job_that_retrains_by_its_policy_takes_what_is_gone_along(
    world: World, equipment: Equipment, model: RegisteredModel, refreshed: dict[str, Any]
) -> None:
    world.execute("UPDATE jobs SET status = 'cancelled', accepts_requests = false WHERE status = 'queued'")
    world.execute("UPDATE registered_models SET policy = policy || '{\"max_empirical_steps\": 0}'")
    job = world.open_job(model, method="interference_aware")
    request = world.deletion(model, job, instances=["p2"])
    assert run_next(equipment)
    done = world.request(request.id)
    assert (done.status, done.job_id, done.error_detail) == ("succeeded", job.id, None)
    with world.change() as session:
        told = unlearning_predicate(read_facts(session, request.id), "http://lethe")
    assert (told["method"], told["guarantee"], told["data"]["gone_at_source"]) == ("retrain", "exact", 1)
    assert "the policy allows 0" in told["tried"][0]["why"]


def test_a_snapshot_has_the_targets_of_what_it_refreshes(
    world: World, equipment: Equipment, model: RegisteredModel, tiny: Tiny, tmp_path: Path
) -> None:
    with np.load(tiny.train) as data:
        np.savez(tmp_path / "other.npz", **{name: data[name] for name in data.files if name != "size"})
    world.execute(
        "UPDATE tenants SET allowed_roots = allowed_roots || CAST(:root AS text)", root=f"file://{tmp_path}"
    )
    with world.change() as session:
        tenant = session.get_one(Tenant, model.tenant_id)
    other, _ = world.dataset(tenant, str(tmp_path / "other.npz"), None)
    world.execute(
        "UPDATE datasets SET refreshes_id = :old WHERE id = :new", old=model.dataset_id, new=other.id
    )
    assert run_next(equipment)
    code = world.value("SELECT error_code FROM datasets WHERE id = :id", id=other.id)
    assert code == "data_targets_differ"
