"""A restored database has the holds, policies, destructions and OpenDSR requests that were made after it."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from app.backup import __main__ as backup
from app.backup.reapplying_rows import ReappliedRows, reapply_rows
from app.backup.sweeping import remove_unknown_objects
from app.core import journaled_rows
from app.core.database import relay_url, sync_engine
from app.core.journal import DamagedEntry
from app.core.settings import Settings
from app.core.storage import Storage
from app.opendsr.status import STATUS
from app.relay import row_journal
from app.relay.life import delete_versions, settle_destroyed
from app.relay.row_journal import journal_rows
from app.relay.service import Relay
from models import RegisteredModel, time_ordered_id
from tests.worker.conftest import world  # noqa: F401 (a fixture)
from tests.worker.world import World

HOLD = """
INSERT INTO legal_holds (id, tenant_id, registered_model_id, version_id, reason, placed_by)
SELECT :id, tenant_id, id, :version, 'Order 17', 'key:k' FROM registered_models
"""
LIFT = """
UPDATE legal_holds SET lifted_at = now(), lifted_by = 'key:k', lift_reason = 'Order 18', journaled_at = NULL
"""
KEEP_FOR_EVER = """
UPDATE registered_models SET policy = policy || '{"delete_after": null, "quarantine_after": 0.5}',
  decided_at = clock_timestamp(), journaled_at = NULL
"""
DESTROY = """
UPDATE registered_models SET status = 'destroyed', error_code = 'model_destroyed', error_detail = 'Order 19',
  decided_at = clock_timestamp(), journaled_at = NULL
"""
OPENDSR = """
INSERT INTO opendsr_requests (id, tenant_id, subject_request_id, regulation, api_version, submitted_at,
  expected_at, instance_count, deletion_request_id, stub_status, body_digest)
SELECT :id, id, gen_random_uuid(), 'gdpr', '2.0', now(), now(), 1, :request, :stub, '\\x00ff' FROM tenants
"""
CALLBACK = """
INSERT INTO opendsr_callbacks (id, tenant_id, opendsr_request_id, url, told_status)
SELECT :id, tenant_id, id, 'https://controller.example/told', 'completed' FROM opendsr_requests
"""
IN_FORCE = "SELECT id, version_id, reason, placed_by, created_at FROM legal_holds WHERE lifted_at IS NULL"
AUDITED = "SELECT data FROM audit_log WHERE action = :action"


@pytest.fixture
def sessions(settings: Settings) -> Iterator[sessionmaker[Session]]:
    """As the relay's role."""
    engine = sync_engine(settings, relay_url(settings), "lethe-relay")
    yield sessionmaker(engine)
    engine.dispose()


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings.storage_url)


@pytest.fixture
def registered(world: World) -> RegisteredModel:  # noqa: F811
    return world.ready_model(world.tenant())


def reapplied(world: World, storage: Storage) -> ReappliedRows:  # noqa: F811
    """And once more, which changes nothing."""
    done = reapply_rows(sessionmaker(world.engine), storage)
    again = reapply_rows(sessionmaker(world.engine), storage)
    assert (again.held, again.lifted, again.policies, again.destroyed, again.opendsr) == (0, 0, 0, 0, 0)
    return done


@pytest.mark.parametrize("of_a_version", [True, False])
def test_a_hold_that_was_placed_after_the_backup_holds(
    world: World,  # noqa: F811
    sessions: sessionmaker[Session],
    storage: Storage,
    registered: RegisteredModel,
    of_a_version: bool,
) -> None:
    version = registered.head_version_id if of_a_version else None
    world.execute(HOLD, id=uuid.uuid4(), version=version)
    placed = world.rows(IN_FORCE)
    assert journal_rows(sessions, storage) == 2  # and the model
    assert journal_rows(sessions, storage) == 0
    world.execute("DELETE FROM legal_holds")
    done = reapplied(world, storage)
    assert (done.held, done.widened) == (1, [])
    assert world.rows(IN_FORCE) == placed
    assert world.value(AUDITED, action="legal_hold.reapplied")["reason"] == "Order 17"


def test_a_hold_on_a_version_that_the_backup_does_not_have_is_on_the_whole_model(
    world: World,  # noqa: F811
    sessions: sessionmaker[Session],
    storage: Storage,
    registered: RegisteredModel,
) -> None:
    world.execute(HOLD, id=uuid.uuid4(), version=registered.head_version_id)
    [hold] = world.rows(IN_FORCE)
    journal_rows(sessions, storage)
    world.execute("DELETE FROM legal_holds")
    [row] = journaled_rows.read_rows(storage, "holds", [])
    journaled_rows.write_row(storage, "holds", row | {"version_id": str(uuid.uuid4())})
    done = reapplied(world, storage)
    assert (done.held, done.widened) == (1, [str(hold.id)])
    assert [(row.id, row.version_id) for row in world.rows(IN_FORCE)] == [(hold.id, None)]


def test_of_two_that_come_to_be_on_the_whole_model_the_second_is_named(
    world: World,  # noqa: F811
    sessions: sessionmaker[Session],
    storage: Storage,
    registered: RegisteredModel,
) -> None:
    """There can be one alone: who lifts it has to know of the other."""
    world.execute(HOLD, id=uuid.uuid4(), version=registered.head_version_id)
    journal_rows(sessions, storage)
    [row] = journaled_rows.read_rows(storage, "holds", [])
    for _ in range(2):
        lost = {"id": str(uuid.uuid4()), "version_id": str(uuid.uuid4())}
        journaled_rows.write_row(storage, "holds", row | lost)
    done = reapplied(world, storage)
    assert (done.held, len(done.widened), len(done.covered)) == (1, 1, 1)
    assert set(done.widened + done.covered).isdisjoint({row["id"]})


def test_a_hold_that_was_lifted_after_the_backup_is_lifted(
    world: World,  # noqa: F811
    sessions: sessionmaker[Session],
    storage: Storage,
    registered: RegisteredModel,
) -> None:
    world.execute(HOLD, id=uuid.uuid4(), version=None)
    journal_rows(sessions, storage)
    world.execute(LIFT)
    assert journal_rows(sessions, storage) == 1
    world.execute("UPDATE legal_holds SET lifted_at = NULL, lifted_by = NULL, lift_reason = NULL")
    assert reapplied(world, storage).lifted == 1
    assert world.rows("SELECT lifted_by, lift_reason FROM legal_holds") == [("key:k", "Order 18")]
    # One that the backup does not have at all is over, and needs no row.
    world.execute("DELETE FROM legal_holds")
    assert reapplied(world, storage).held == 0


def test_a_change_that_comes_while_it_is_written_is_written_too(
    world: World,  # noqa: F811
    sessions: sessionmaker[Session],
    storage: Storage,
    registered: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world.execute(HOLD, id=uuid.uuid4(), version=None)
    changes = [LIFT, KEEP_FOR_EVER]

    def write(storage: Storage, kind: Any, row: journaled_rows.Row) -> None:
        journaled_rows.write_row(storage, kind, row)
        if changes:
            world.execute(changes.pop(0))

    monkeypatch.setattr(row_journal, "write_row", write)
    assert [journal_rows(sessions, storage) for _ in range(3)] == [2, 2, 0]
    [hold] = journaled_rows.read_rows(storage, "holds", [])
    [model] = journaled_rows.read_rows(storage, "models", [])
    assert hold["lift_reason"] == "Order 18"
    assert model["policy"]["quarantine_after"] == 0.5


def test_a_policy_that_was_changed_after_the_backup_is_in_force_and_never_an_older_one(
    world: World,  # noqa: F811
    sessions: sessionmaker[Session],
    storage: Storage,
    registered: RegisteredModel,
) -> None:
    before = world.rows("SELECT policy, decided_at FROM registered_models")[0]
    world.execute(KEEP_FOR_EVER)
    after = world.rows("SELECT policy, decided_at FROM registered_models")
    journal_rows(sessions, storage)
    world.execute(
        "UPDATE registered_models SET policy = CAST(:policy AS jsonb), decided_at = :at",
        policy="{}",
        at=before.decided_at,
    )
    assert reapplied(world, storage).policies == 1
    assert world.rows("SELECT policy, decided_at FROM registered_models") == after
    assert world.value(AUDITED, action="model.policy_reapplied")["policy"]["quarantine_after"] == 0.5
    # The dump has a change that the journal had not got yet.
    world.execute("UPDATE registered_models SET policy = '{}', decided_at = clock_timestamp()")
    assert reapplied(world, storage).policies == 0
    assert world.value("SELECT policy FROM registered_models") == {}


def test_a_model_that_was_destroyed_after_the_backup_is_destroyed(
    world: World,  # noqa: F811
    sessions: sessionmaker[Session],
    storage: Storage,
    registered: RegisteredModel,
) -> None:
    job, request = world.job_with_request(registered)
    world.execute(DESTROY)
    journal_rows(sessions, storage)
    world.execute("ALTER TABLE registered_models DISABLE TRIGGER enforce_transition")
    world.execute(
        "UPDATE registered_models SET status = 'ready', error_code = NULL, error_detail = NULL,"
        " decided_at = decided_at - interval '1 hour'"
    )
    world.execute("ALTER TABLE registered_models ENABLE TRIGGER enforce_transition")
    assert reapplied(world, storage).destroyed == 1
    assert world.rows("SELECT status, error_detail FROM registered_models") == [("destroyed", "Order 19")]
    settle_destroyed(sessions)
    assert world.request(request.id).status == world.job(job.id).status == "failed"
    assert delete_versions(sessions, storage) == 1


def test_an_opendsr_request_is_answered_and_told_of_again(
    world: World,  # noqa: F811
    sessions: sessionmaker[Session],
    storage: Storage,
    registered: RegisteredModel,
) -> None:
    _, request = world.job_with_request(registered)
    world.execute(OPENDSR, id=time_ordered_id(), request=request.id, stub=None)
    world.execute(CALLBACK, id=uuid.uuid4())
    shown = f"SELECT r.*, {STATUS} AS status FROM opendsr_requests r"
    [before] = [row._asdict() | {"journaled_at": None} for row in world.rows(shown)]
    assert journal_rows(sessions, storage) == 2
    world.execute("DELETE FROM opendsr_callbacks")
    world.execute("DELETE FROM opendsr_requests")
    assert reapplied(world, storage).opendsr == 1
    assert [row._asdict() | {"journaled_at": None} for row in world.rows(shown)] == [before]
    assert before["status"] == "pending"
    # Whatever it was told before: the request may be where it was already.
    told = world.rows("SELECT opendsr_request_id, url, told_status, given_up_at FROM opendsr_callbacks")
    assert told == [(before["id"], "https://controller.example/told", None, None)]


def test_an_opendsr_request_without_its_deletion_request_is_said(
    world: World,  # noqa: F811
    sessions: sessionmaker[Session],
    storage: Storage,
    registered: RegisteredModel,
) -> None:
    _, request = world.job_with_request(registered)
    lost, empty = time_ordered_id(), time_ordered_id()
    world.execute(OPENDSR, id=lost, request=request.id, stub=None)
    world.execute(OPENDSR, id=empty, request=None, stub=None)  # it had found nothing to forget
    world.execute(OPENDSR, id=time_ordered_id(), request=None, stub="pending")
    assert journal_rows(sessions, storage) == 3  # not the stub, behind which nothing is deleted
    world.execute("DELETE FROM opendsr_requests")
    world.execute("DELETE FROM deletion_request_items")
    world.execute("DELETE FROM deletion_requests")
    done = reapplied(world, storage)
    assert (done.opendsr, done.without_request) == (1, [str(lost)])
    assert world.value("SELECT id FROM opendsr_requests") == empty


@pytest.mark.parametrize("known", [True, False])
def test_what_may_be_under_a_hold_is_not_swept(
    world: World,  # noqa: F811
    sessions: sessionmaker[Session],
    storage: Storage,
    registered: RegisteredModel,
    known: bool,
) -> None:
    """By the word of the database, or of the journal where the model itself is younger than the backup."""
    owner = sessionmaker(world.engine)
    world.execute(HOLD, id=uuid.uuid4(), version=None)
    journal_rows(sessions, storage)
    held, other = (f"{tenant}/checkpoint/{uuid.uuid4()}" for tenant in (registered.tenant_id, uuid.uuid4()))
    for path in (held, other):
        storage.put(path, [b"made after the backup"])
    if not known:
        world.execute("DELETE FROM legal_holds")
    swept = remove_unknown_objects(owner, storage)
    assert (swept.removed, swept.held) == ([other], [held])
    if known:
        world.execute(LIFT)
        assert remove_unknown_objects(owner, storage).removed == [held]


def test_a_hold_on_a_model_that_the_backup_does_not_have_is_said(
    world: World,  # noqa: F811
    sessions: sessionmaker[Session],
    storage: Storage,
    registered: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the command, with a status that a script sees."""
    monkeypatch.setattr(backup, "get_settings", lambda: world.settings)
    world.execute(HOLD, id=uuid.uuid4(), version=None)
    journal_rows(sessions, storage)
    [hold] = journaled_rows.read_rows(storage, "holds", [])
    run = CliRunner().invoke(backup.app, ["reapply"])
    assert run.exit_code == 0, run.output
    strange = hold | {"id": str(uuid.uuid4()), "registered_model_id": str(uuid.uuid4())}
    journaled_rows.write_row(storage, "holds", strange)
    run = CliRunner().invoke(backup.app, ["reapply"])
    assert run.exit_code == 1
    assert f"Legal hold {strange['id']} is on a model that the backup does not have" in run.output


def test_a_damaged_entry_is_named_and_nothing_is_swept_by_it(
    world: World,  # noqa: F811
    storage: Storage,
) -> None:
    for content in (b"{", b"[]", b"{}", b'{"id": "another", "tenant_id": "t"}'):
        storage.put("journal/holds/one", [content])
        assert reapplied(world, storage).damaged == ["journal/holds/one"]
        with pytest.raises(DamagedEntry, match="journal/holds/one"):
            remove_unknown_objects(sessionmaker(world.engine), storage)


def test_the_relay_writes_them(world: World, settings: Settings, storage: Storage) -> None:  # noqa: F811
    world.ready_model(world.tenant())
    relay = Relay(settings)
    relay.record()
    assert len(list(journaled_rows.read_rows(storage, "models", []))) == 1
    relay._sessions.kw["bind"].dispose()
