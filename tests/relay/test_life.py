"""Superseded versions are withdrawn, then deleted, by their model's clock; what is needed or held is not."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.settings import Settings
from app.core.storage import NotStored, Storage, open_storage
from app.relay.life import delete_versions, quarantine_versions, settle_destroyed
from models import RegisteredModel
from tests.worker.processes import wait_until
from tests.worker.world import World

CLOCK = '{"quarantine_after": 7, "delete_after": 23}'


@pytest.fixture
def model(world: World, storage: Storage) -> RegisteredModel:
    """With version 1 superseded by version 2."""
    model = world.ready_model(world.tenant())
    world.execute("UPDATE registered_models SET policy = policy || CAST(:clock AS jsonb)", clock=CLOCK)
    for number in (1, 2):
        path = f"{model.tenant_id}/checkpoint/{number}"
        written = storage.put(path, [b"bytes"])
        world.execute(
            "INSERT INTO artifacts (id, tenant_id, kind, path, state, sha256, size)"
            " VALUES (gen_random_uuid(), :t, 'checkpoint', :p, 'stored', :sha, 5)",
            t=model.tenant_id,
            p=path,
            sha=written.sha256,
        )
    world.execute("UPDATE model_versions SET artifact_id = (SELECT id FROM artifacts WHERE path LIKE '%/1')")
    world.execute(
        "INSERT INTO model_versions (id, tenant_id, registered_model_id, number, parent_id, artifact_id,"
        " state) SELECT gen_random_uuid(), tenant_id, registered_model_id, 2, id,"
        " (SELECT id FROM artifacts WHERE path LIKE '%/2'), 'published' FROM model_versions"
    )
    world.execute(
        "UPDATE registered_models SET head_version_id = (SELECT id FROM model_versions WHERE number = 2)"
    )
    world.execute("UPDATE model_versions SET state = 'superseded' WHERE number = 1")
    return model


def age(world: World, days: float) -> None:
    """Everything that is timed by the clock happened so many days earlier."""
    shift = f"interval '{days} days'"
    world.execute(f"UPDATE model_versions SET state_since = state_since - {shift}")
    world.execute(
        f"UPDATE legal_holds SET created_at = created_at - {shift}, lifted_at = lifted_at - {shift}"
    )


def state(world: World, number: int = 1) -> str:
    found: str = world.value("SELECT state FROM model_versions WHERE number = :n", n=number)
    return found


HOLD = (
    "INSERT INTO legal_holds (id, tenant_id, registered_model_id, version_id, reason, placed_by)"
    " SELECT gen_random_uuid(), tenant_id, registered_model_id, CASE WHEN :one THEN id END, 'r', 'k'"
    " FROM model_versions WHERE number = 1 RETURNING id"
)


def hold(world: World, *, version: bool) -> uuid.UUID:
    found: uuid.UUID = world.value(HOLD, one=version)
    return found


def lift(world: World, hold_id: uuid.UUID) -> None:
    world.execute("UPDATE legal_holds SET lifted_at = now(), lifted_by = 'k' WHERE id = :id", id=hold_id)


def test_the_clock_withdraws_then_deletes_and_keeps_the_records(
    world: World, sessions: sessionmaker[Session], storage: Storage, model: RegisteredModel
) -> None:
    age(world, 6.9)
    assert quarantine_versions(sessions) == 0
    age(world, 0.2)
    assert quarantine_versions(sessions) == 1
    assert (state(world), state(world, 2)) == ("quarantined", "published")
    assert world.value("SELECT now() - state_since < interval '1 hour' FROM model_versions WHERE number = 1")
    age(world, 22.9)
    assert delete_versions(sessions, storage) == 0
    age(world, 0.2)
    assert delete_versions(sessions, storage) == 1
    assert delete_versions(sessions, storage) == 0
    path = f"{model.tenant_id}/checkpoint/1"
    with pytest.raises(NotStored):
        storage.size(path)
    row = world.rows("SELECT state, octet_length(sha256), size FROM artifacts WHERE path = :p", p=path)
    assert row == [("deleted", 32, 5)]
    assert storage.size(f"{model.tenant_id}/checkpoint/2") == 5
    told = world.rows("SELECT action, data ->> 'sha256' FROM audit_log WHERE actor = 'relay' ORDER BY id")
    assert [action for action, _ in told] == ["version.quarantine", "version.delete"]
    assert len(told[-1][1]) == 64
    assert world.value("SELECT count(*) FROM events WHERE type = 'version.deleted'") == 1


@pytest.mark.parametrize(
    "needed",
    [
        "INSERT INTO aliases (registered_model_id, name, tenant_id, version_id)"
        " SELECT registered_model_id, 'champion', tenant_id, id FROM model_versions WHERE number = 1",
        "UPDATE registered_models SET head_version_id = (SELECT id FROM model_versions WHERE number = 1)",
        "INSERT INTO jobs (id, tenant_id, kind, registered_model_id, method, status, base_version_id)"
        " SELECT gen_random_uuid(), tenant_id, 'unlearn', registered_model_id, 'retrain', 'needs_review', id"
        " FROM model_versions WHERE number = 1",
        "UPDATE registered_models SET policy = policy - 'quarantine_after' - 'delete_after'",
    ],
    ids=["aliased", "head", "base of a candidate in review", "a policy without a clock"],
)
@pytest.mark.parametrize("withdrawn", [False, True])
def test_what_is_needed_stays(
    world: World,
    sessions: sessionmaker[Session],
    storage: Storage,
    model: RegisteredModel,
    needed: str,
    withdrawn: bool,
) -> None:
    if withdrawn:
        world.execute("UPDATE model_versions SET state = 'quarantined' WHERE number = 1")
    world.execute(needed)
    age(world, 1000)
    assert quarantine_versions(sessions) == delete_versions(sessions, storage) == 0


@pytest.mark.parametrize("version", [True, False])
def test_a_legal_hold_stops_the_clock(
    world: World, sessions: sessionmaker[Session], model: RegisteredModel, version: bool
) -> None:
    age(world, 5)
    held = hold(world, version=version)
    age(world, 100)
    assert quarantine_versions(sessions) == 0
    lift(world, held)
    assert quarantine_versions(sessions) == 0, "the hundred days under the hold do not count"
    age(world, 1.9)
    assert quarantine_versions(sessions) == 0
    age(world, 0.2)
    assert quarantine_versions(sessions) == 1


@pytest.mark.parametrize("version", [True, False])
def test_a_hold_on_what_is_withdrawn_already_keeps_its_bytes(
    world: World, sessions: sessionmaker[Session], storage: Storage, model: RegisteredModel, version: bool
) -> None:
    world.execute("UPDATE model_versions SET state = 'quarantined' WHERE number = 1")
    age(world, 20)
    held = hold(world, version=version)
    age(world, 100)
    assert delete_versions(sessions, storage) == 0
    lift(world, held)
    age(world, 2.9)
    assert delete_versions(sessions, storage) == 0
    assert storage.size(f"{model.tenant_id}/checkpoint/1") == 5
    age(world, 0.2)
    assert delete_versions(sessions, storage) == 1


def test_a_hold_that_is_placed_at_this_moment_keeps_the_version(
    world: World, sessions: sessionmaker[Session], storage: Storage, model: RegisteredModel
) -> None:
    """It was found to be due; whoever places the hold has the model's row."""
    world.execute("UPDATE model_versions SET state = 'quarantined' WHERE number = 1")
    age(world, 24)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    waits += " AND wait_event_type = 'Lock' AND query LIKE '%registered_models%'"
    with ThreadPoolExecutor(1) as threads:
        with world.engine.begin() as placing:
            placing.exec_driver_sql("SELECT FROM registered_models FOR NO KEY UPDATE")
            deleting = threads.submit(delete_versions, sessions, storage)
            wait_until(lambda: world.value(waits))
            placing.execute(text(HOLD), {"one": True})
        assert deleting.result() == 0
    assert state(world) == "quarantined"
    assert storage.size(f"{model.tenant_id}/checkpoint/1") == 5


def test_of_holds_that_overlap_the_union_counts(
    world: World, sessions: sessionmaker[Session], model: RegisteredModel
) -> None:
    age(world, 5)
    first = hold(world, version=True)
    age(world, 10)
    second = hold(world, version=False)
    age(world, 10)
    lift(world, first)
    age(world, 10)
    lift(world, second)
    age(world, 1.9)
    assert quarantine_versions(sessions) == 0
    age(world, 0.2)
    assert quarantine_versions(sessions) == 1


def test_one_that_cannot_be_deleted_stays_due(
    world: World,
    sessions: sessionmaker[Session],
    storage: Storage,
    settings: Settings,
    model: RegisteredModel,
) -> None:
    """A crash between bytes and rows, too, is only work that is done once more."""
    world.execute("UPDATE model_versions SET state = 'quarantined' WHERE number = 1")
    age(world, 24)

    class Broken(Storage):
        def delete(self, path: str) -> None:
            super().delete(path)
            raise OSError("the disk is gone")

    assert delete_versions(sessions, Broken(settings.storage_url)) == 0
    assert state(world) == "quarantined"
    assert delete_versions(sessions, storage) == 1


def test_two_relays_do_not_delete_at_once(
    world: World, sessions: sessionmaker[Session], storage: Storage, model: RegisteredModel
) -> None:
    age(world, 8)
    with world.engine.begin() as other:
        other.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('lethe life of versions'))")
        assert quarantine_versions(sessions) == 0
    assert quarantine_versions(sessions) == 1


def test_of_a_destroyed_model_everything_goes_at_once(
    world: World, sessions: sessionmaker[Session], storage: Storage, model: RegisteredModel
) -> None:
    waiting, request = world.job_with_request(model)
    running, running_request = world.job_with_request(model)
    world.execute(
        "UPDATE jobs SET status = 'running', lease_expires_at = now() + interval '1 minute' WHERE id = :id",
        id=running.id,
    )
    world.execute("UPDATE deletion_requests SET status = 'running' WHERE job_id = :id", id=running.id)
    jobless = world.deletion(model, None, status="awaiting_approval", approval={"reasons": []})
    world.execute("UPDATE registered_models SET status = 'destroyed'")
    assert settle_destroyed(sessions) == 2
    assert settle_destroyed(sessions) == 0
    assert {world.job(job.id).status for job in (waiting, running)} == {"failed"}
    for each in (request, running_request, jobless):
        assert (world.request(each.id).status, world.request(each.id).error_code) == (
            "failed",
            "model_destroyed",
        )
    assert delete_versions(sessions, storage) == 2
    assert (state(world), state(world, 2)) == ("deleted", "deleted")
    assert list(storage.list(str(model.tenant_id))) == []


@pytest.mark.parametrize("upload", ["pending", "rejected"])
def test_an_upload_that_was_never_published_goes_with_its_model(
    world: World, sessions: sessionmaker[Session], storage: Storage, upload: str
) -> None:
    tenant = world.tenant()
    dataset, _ = world.dataset(tenant, "file:///nowhere", None)
    world.model(tenant, dataset)
    [(path,)] = world.rows("SELECT path FROM artifacts")
    written = storage.put(path, [b"bytes"])
    world.execute("UPDATE artifacts SET state = 'stored', sha256 = :sha, size = 5", sha=written.sha256)
    world.execute("UPDATE model_versions SET state = :upload", upload=upload)
    world.execute("UPDATE registered_models SET status = 'destroyed'")
    assert delete_versions(sessions, storage) == 1
    assert state(world) == "deleted"
    with pytest.raises(NotStored):
        storage.size(path)


def test_an_encrypted_version_leaves_no_key(
    world: World,
    sessions: sessionmaker[Session],
    settings: Settings,
    model: RegisteredModel,
    tmp_path_factory,
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "master").write_text("ab" * 32)
    keys = {"master_key_file": str(folder / "master"), "key_store_url": f"file://{folder}/keys"}
    encrypting = open_storage(settings.model_copy(update=keys))
    path = f"{model.tenant_id}/checkpoint/1"
    written = encrypting.put(path, [b"bytes"])
    world.execute("UPDATE artifacts SET key_store = :k WHERE path = :p", k=written.key_store, p=path)
    world.execute("UPDATE model_versions SET state = 'quarantined' WHERE number = 1")
    age(world, 24)
    assert (folder / "keys" / path).exists()
    assert delete_versions(sessions, encrypting) == 1
    assert not (folder / "keys" / path).exists()
    assert world.value("SELECT data ->> 'key_destroyed' FROM events WHERE type = 'version.deleted'") == "true"
