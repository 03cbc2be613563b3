"""What nothing refers to is removed; what something may still come to refer to is not."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.storage import NotStored, Storage
from app.relay.disposal import remove_old_rows, remove_orphans
from models import Artifact, Job, time_ordered_id
from tests.worker.processes import wait_until
from tests.worker.world import World

GRACE = 60.0
HOLD = (
    "INSERT INTO legal_holds (id, tenant_id, registered_model_id, version_id, reason, placed_by)"
    " SELECT gen_random_uuid(), m.tenant_id, m.id, held.version, 'court', 'k' FROM registered_models m"
)


def artifact(world: World, storage: Storage, job: Job, *, stored: bool, age: str = "1 hour") -> Artifact:
    artifact_id = time_ordered_id()
    path = f"{job.tenant_id}/checkpoint/{artifact_id}"
    written = storage.put(path, [b"bytes"])
    with world.change() as session:
        made = Artifact(
            id=artifact_id,
            tenant_id=job.tenant_id,
            kind="checkpoint",
            path=path,
            state="stored" if stored else "pending",
            sha256=written.sha256 if stored else None,
            size=written.size if stored else None,
            job_id=job.id,
        )
        session.add(made)
    world.execute(
        "UPDATE artifacts SET created_at = now() - CAST(:age AS interval) WHERE id = :id",
        age=age,
        id=artifact_id,
    )
    return made


def state(world: World, artifact_id: uuid.UUID) -> str:
    found: str = world.value("SELECT state FROM artifacts WHERE id = :id", id=artifact_id)
    return found


@pytest.fixture
def job(world: World) -> Job:
    return world.open_job(world.ready_model(world.tenant()))


def run(world: World, job: Job, attempts: int) -> None:
    """The job runs, in its n-th attempt, the first one begun two hours ago and the newest just now."""
    world.execute("UPDATE jobs SET status = 'running', lease_expires_at = now() WHERE id = :id", id=job.id)
    for number in range(1, attempts + 1):
        world.execute(
            "INSERT INTO attempts (id, tenant_id, job_id, fence, worker, created_at)"
            " VALUES (gen_random_uuid(), :tenant, :job, :fence, 'w', now() - CAST(:age AS interval))",
            tenant=job.tenant_id,
            job=job.id,
            fence=number,
            age="0 s" if number > 1 else "2 hours",
        )


@pytest.mark.parametrize(
    ("stored", "attempts", "age", "removed"),
    [
        (True, 0, "1 s", True),  # a superseded snapshot, or a candidate that nobody published
        (False, 0, "1 hour", True),  # no attempt is under way
        (False, 0, "10 s", False),  # but one may just have lost its job
        (False, 1, "1 hour", False),  # the attempt that writes it is under way
        (False, 2, "1 hour", True),  # a newer one has begun since
    ],
)
def test_bytes_that_nobody_can_claim_any_more_are_removed(
    world: World,
    sessions: sessionmaker[Session],
    storage: Storage,
    job: Job,
    stored: bool,
    attempts: int,
    age: str,
    removed: bool,
) -> None:
    if attempts:
        run(world, job, attempts)
    orphan = artifact(world, storage, job, stored=stored, age=age)
    assert remove_orphans(sessions, storage, GRACE, 86_400.0) == int(removed)
    if removed:
        assert state(world, orphan.id) == "deleted"
        with pytest.raises(NotStored):
            storage.size(orphan.path)
    else:
        assert storage.size(orphan.path) == 5


@pytest.mark.parametrize("column", ["candidate_artifact_id", "snapshot_artifact_id"])
def test_a_candidate_and_a_snapshot_stay_until_their_job_is_over(
    world: World, sessions: sessionmaker[Session], storage: Storage, job: Job, column: str
) -> None:
    kept = artifact(world, storage, job, stored=True)
    world.execute(f"UPDATE jobs SET {column} = :artifact", artifact=kept.id)
    assert remove_orphans(sessions, storage, GRACE, 86_400.0) == 0
    world.execute("UPDATE jobs SET status = 'cancelled'")
    assert remove_orphans(sessions, storage, GRACE, 86_400.0) == 1


@pytest.mark.parametrize("column", ["candidate_artifact_id", "snapshot_artifact_id"])
def test_a_hold_on_a_model_keeps_what_its_jobs_were_left_with(
    world: World, sessions: sessionmaker[Session], storage: Storage, job: Job, column: str
) -> None:
    """What a job itself has superseded is not kept; a hold on one version keeps that version."""
    kept, superseded = (artifact(world, storage, job, stored=True) for _ in range(2))
    world.execute(f"UPDATE jobs SET {column} = :artifact, status = 'cancelled'", artifact=kept.id)
    world.execute(HOLD + ", LATERAL (VALUES (NULL), (m.head_version_id)) AS held(version)")
    assert remove_orphans(sessions, storage, GRACE, 86_400.0) == 1
    assert (state(world, superseded.id), state(world, kept.id)) == ("deleted", "stored")
    lift = "UPDATE legal_holds SET lifted_at = now(), lifted_by = 'k' WHERE version_id IS NULL"
    world.execute(lift)
    assert remove_orphans(sessions, storage, GRACE, 86_400.0) == 1
    assert state(world, kept.id) == "deleted"


def test_a_hold_that_is_placed_at_this_moment_keeps_what_a_job_was_left_with(
    world: World, sessions: sessionmaker[Session], storage: Storage, job: Job
) -> None:
    """It was found to be nobody's; whoever places the hold has the model's row."""
    kept = artifact(world, storage, job, stored=True)
    world.execute("UPDATE jobs SET snapshot_artifact_id = :id, status = 'cancelled'", id=kept.id)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    waits += " AND wait_event_type = 'Lock' AND query LIKE '%registered_models%'"
    with ThreadPoolExecutor(1) as threads:
        with world.engine.begin() as placing:
            placing.exec_driver_sql("SELECT FROM registered_models FOR NO KEY UPDATE")
            removing = threads.submit(remove_orphans, sessions, storage, GRACE, 86_400.0)
            wait_until(lambda: world.value(waits))
            placing.execute(text(HOLD + ", LATERAL (VALUES (CAST(NULL AS uuid))) AS held(version)"))
        assert removing.result() == 0
    assert state(world, kept.id) == "stored"


def test_an_upload_has_as_long_as_its_client_needs(
    world: World, sessions: sessionmaker[Session], storage: Storage, job: Job
) -> None:
    """No job writes it."""
    upload = artifact(world, storage, job, stored=False, age="23 hours")
    world.execute("UPDATE artifacts SET job_id = NULL")
    assert remove_orphans(sessions, storage, GRACE, 86_400.0) == 0
    world.execute("UPDATE artifacts SET created_at = created_at - interval '2 hours'")
    assert remove_orphans(sessions, storage, GRACE, 86_400.0) == 1
    assert state(world, upload.id) == "deleted"


def test_a_versions_bytes_stay(
    world: World, sessions: sessionmaker[Session], storage: Storage, job: Job
) -> None:
    kept = artifact(world, storage, job, stored=True)
    world.execute("UPDATE model_versions SET artifact_id = :artifact", artifact=kept.id)
    world.execute("UPDATE jobs SET status = 'cancelled'")
    remove_orphans(sessions, storage, GRACE, 86_400.0)
    assert state(world, kept.id) == "stored"


def test_old_answers_and_sent_messages_go(world: World, sessions: sessionmaker[Session], job: Job) -> None:
    for key, age in (("old", "25 hours"), ("new", "23 hours")):
        world.execute(
            "INSERT INTO idempotency_keys (tenant_id, key, request_sha256, created_at)"
            " VALUES (:tenant, :key, '', now() - CAST(:age AS interval))",
            tenant=job.tenant_id,
            key=key,
            age=age,
        )
    for age in ("31 days", "29 days"):
        world.execute(
            "INSERT INTO instance_lists (id, tenant_id, instance_count, hash_key_id, created_at)"
            " VALUES (gen_random_uuid(), :tenant, 1, 'k1', now() - CAST(:age AS interval))",
            tenant=job.tenant_id,
            age=age,
        )
    world.execute(
        "INSERT INTO instance_list_items (instance_list_id, instance_hash, tenant_id, position)"
        " SELECT id, 'hash', tenant_id, 0 FROM instance_lists"
    )
    world.execute("UPDATE outbox SET sent_at = now() - interval '2 hours'")
    world.execute(
        "INSERT INTO outbox (tenant_id, topic, job_id) VALUES (:t, 'wake', :j)", t=job.tenant_id, j=job.id
    )
    remove_old_rows(sessions, idempotency_hours=24, instance_list_days=30)
    assert world.rows("SELECT key FROM idempotency_keys") == [("new",)]
    assert world.rows("SELECT sent_at FROM outbox") == [(None,)]
    assert world.rows("SELECT count(*), count(DISTINCT instance_list_id) FROM instance_list_items") == [
        (1, 1)
    ]
