"""What was asked for enters the journal, whatever else is the matter."""

import uuid

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.core import journal as entries
from app.core import settling
from app.core.journal import Entry, read_entries
from app.core.settings import Settings
from app.core.storage import Storage
from app.relay import journal
from app.relay.journal import Journal
from app.relay.service import Relay
from models import Job
from tests.worker.world import World


@pytest.fixture
def requests(world: World, monkeypatch: pytest.MonkeyPatch) -> list[uuid.UUID]:
    """Five, in the order in which they are written; two make a batch, and a call writes two batches."""
    monkeypatch.setattr(journal, "BATCH", 2)
    monkeypatch.setattr(journal, "BATCHES", 2)
    model = world.ready_model(world.tenant())
    return sorted(world.job_with_request(model)[1].id for _ in range(5))


@pytest.fixture
def damned(monkeypatch: pytest.MonkeyPatch) -> set[uuid.UUID]:
    """Requests that cannot be written."""
    ids: set[uuid.UUID] = set()

    def write(storage: Storage, entry: Entry) -> None:
        if entry.id in ids:
            raise OSError("no")
        entries.write_entry(storage, entry)

    monkeypatch.setattr(journal, "write_entry", write)
    return ids


def test_some_at_each_call_until_all_are_there(
    sessions: sessionmaker[Session], storage: Storage, requests: list[uuid.UUID]
) -> None:
    writer = Journal(sessions, storage)
    assert [writer.write() for _ in range(3)] == [4, 1, 0]
    assert {entry.id for entry in read_entries(storage)} == set(requests)
    assert all(entry.instances for entry in read_entries(storage))


def test_one_that_cannot_be_written_keeps_no_other_back_and_is_tried_again(
    sessions: sessionmaker[Session], storage: Storage, requests: list[uuid.UUID], damned: set[uuid.UUID]
) -> None:
    damned.add(requests[0])
    writer = Journal(sessions, storage)
    assert [writer.write() for _ in range(3)] == [3, 1, 0]
    damned.clear()
    assert writer.write() == 1
    assert {entry.id for entry in read_entries(storage)} == set(requests)


def test_a_call_ends_when_everything_fails_and_the_next_one_goes_on_behind_that(
    sessions: sessionmaker[Session], storage: Storage, requests: list[uuid.UUID], damned: set[uuid.UUID]
) -> None:
    damned |= set(requests[:4])
    writer = Journal(sessions, storage)
    with pytest.raises(OSError, match="no"):
        writer.write()
    assert writer.write() == 1
    assert [entry.id for entry in read_entries(storage)] == requests[4:]


def test_a_storage_that_fails_keeps_no_alarm_back(
    world: World, settings: Settings, requests: list[uuid.UUID], damned: set[uuid.UUID]
) -> None:
    damned |= set(requests)
    world.execute("UPDATE deletion_requests SET due_at = now() - interval '1 day'")
    relay = Relay(settings)
    relay.record()
    raised = "SELECT count(*) FROM events WHERE type = 'deadline.due_passed'"
    assert world.value(raised) == 0
    relay.sweep()
    assert world.value(raised) == 5
    relay.sweep()
    assert world.value(raised) == 5
    relay.engine.dispose()


def test_a_cancellation_that_began_before_the_entry_was_written_is_written_too(
    world: World, sessions: sessionmaker[Session], storage: Storage
) -> None:
    job, request = world.job_with_request(world.ready_model(world.tenant()))
    world.execute(
        "UPDATE jobs SET status = 'running', fence = 1, attempt = 1, lease_expires_at = now() WHERE id = :id",
        id=job.id,
    )
    world.execute("UPDATE deletion_requests SET status = 'running'")
    with sessions.begin() as session:
        running = session.get_one(Job, job.id)
        assert Journal(sessions, storage).write() == 1
        settling.cancel(session, running, "somebody")
    assert Journal(sessions, storage).write() == 1
    assert [(entry.id, entry.cancelled) for entry in read_entries(storage)] == [(request.id, True)]
    assert Journal(sessions, storage).write() == 0


def test_notice_that_is_given_while_the_entry_is_written_is_written_too(
    world: World, sessions: sessionmaker[Session], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, request = world.job_with_request(world.ready_model(world.tenant()))
    parent = uuid.uuid4()
    world.execute(
        "INSERT INTO deletion_requests (id, tenant_id, dataset_id, tasks, scope, method, instance_count,"
        " hash_key_id) SELECT :p, tenant_id, dataset_id, tasks, scope, method, 1, 'k1'"
        " FROM deletion_requests",
        p=parent,
    )
    world.execute("UPDATE deletion_requests SET parent_id = :p WHERE id <> :p", p=parent)
    notices = [
        ("UPDATE deletion_requests SET acknowledged_at = now(), journaled_at = NULL", request.id),
        ('UPDATE deletion_requests SET extension = \'{"reason": "r"}\', journaled_at = NULL', request.id),
        ("UPDATE deletion_requests SET acknowledged_at = now(), journaled_at = NULL", parent),
    ]

    def write(storage: Storage, entry: Entry) -> None:
        entries.write_entry(storage, entry)
        if notices:
            statement, to = notices.pop()
            world.execute(f"{statement} WHERE id = :id", id=to)

    monkeypatch.setattr(journal, "write_entry", write)
    writer = Journal(sessions, storage)
    assert [writer.write() for _ in range(5)] == [1, 1, 1, 1, 0]
    [entry] = read_entries(storage)
    assert entry.acknowledged_at is not None
    assert entry.extension == {"reason": "r"}
    assert entry.parent is not None
    assert entry.parent["acknowledged_at"] is not None
