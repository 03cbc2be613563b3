"""Jobs whose worker fell silent."""

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.relay.leases import reclaim_expired
from models import DeletionRequest, Job
from tests.worker.world import World


@pytest.fixture
def abandoned(world: World) -> tuple[Job, DeletionRequest]:
    """A job in its first attempt, its lease run out."""
    job, request = world.job_with_request(world.ready_model(world.tenant()))
    world.execute("DELETE FROM outbox")
    world.execute(
        "UPDATE jobs SET status = 'running', fence = 1, attempt = 1, lease_holder = 'gone',"
        " phase = 'unlearning', lease_expires_at = now() - interval '1 second' WHERE id = :id",
        id=job.id,
    )
    world.execute("UPDATE deletion_requests SET status = 'running'")
    world.execute(
        "INSERT INTO attempts (id, tenant_id, job_id, fence, worker)"
        " SELECT gen_random_uuid(), tenant_id, id, 1, 'gone' FROM jobs WHERE id = :id",
        id=job.id,
    )
    return job, request


def test_it_is_queued_again_and_a_worker_woken(
    world: World, sessions: sessionmaker[Session], abandoned: tuple[Job, DeletionRequest]
) -> None:
    job, request = abandoned
    assert reclaim_expired(sessions, 3) == 1
    assert reclaim_expired(sessions, 3) == 0
    queued = world.job(job.id)
    assert (queued.status, queued.lease_holder, queued.phase) == ("queued", None, None)
    assert (queued.fence, queued.attempt) == (1, 1)
    assert world.request(request.id).status == "queued"
    assert world.value("SELECT outcome FROM attempts") == "lease_lost"
    assert world.value("SELECT count(*) FROM outbox WHERE job_id = :id", id=job.id) == 1


def test_a_live_lease_is_left_alone(
    world: World, sessions: sessionmaker[Session], abandoned: tuple[Job, DeletionRequest]
) -> None:
    world.execute("UPDATE jobs SET lease_expires_at = now() + interval '10 seconds'")
    assert reclaim_expired(sessions, 3) == 0


def test_one_that_is_being_settled_is_left_alone(
    world: World, sessions: sessionmaker[Session], abandoned: tuple[Job, DeletionRequest]
) -> None:
    with world.engine.begin() as settling:
        settling.execute(text("SELECT 1 FROM jobs FOR UPDATE"))
        assert reclaim_expired(sessions, 3) == 0


def test_after_the_last_attempt_it_fails_for_good(
    world: World, sessions: sessionmaker[Session], abandoned: tuple[Job, DeletionRequest]
) -> None:
    job, request = abandoned
    assert reclaim_expired(sessions, 1) == 1
    failed, told = world.job(job.id), world.request(request.id)
    assert (failed.status, failed.error_code) == ("failed", "worker_lost")
    assert (told.status, told.error_code) == ("failed", "worker_lost")
    assert world.rows("SELECT outcome, error_code FROM attempts") == [("lease_lost", "worker_lost")]


def test_one_that_was_to_be_cancelled_is(
    world: World, sessions: sessionmaker[Session], abandoned: tuple[Job, DeletionRequest]
) -> None:
    job, request = abandoned
    world.execute("UPDATE jobs SET status = 'cancelling', cancel_requested_at = now()")
    world.execute("UPDATE deletion_requests SET status = 'cancelling', cancel_requested_at = now()")
    assert reclaim_expired(sessions, 1) == 1
    assert world.job(job.id).status == "cancelled"
    assert world.request(request.id).status == "cancelled"


def test_a_request_that_was_taken_back_does_not_come_along(
    world: World, sessions: sessionmaker[Session], abandoned: tuple[Job, DeletionRequest]
) -> None:
    job, request = abandoned
    world.execute("UPDATE deletion_requests SET status = 'cancelling', cancel_requested_at = now()")
    assert reclaim_expired(sessions, 3) == 1
    assert world.request(request.id).status == "cancelled"
    assert world.job(job.id).status == "cancelled"  # it is for nobody any more


def test_a_validation_that_never_ends_rejects_what_it_was_about(
    world: World, sessions: sessionmaker[Session]
) -> None:
    dataset, job = world.dataset(world.tenant(), "file:///somewhere", None)
    world.execute(
        "UPDATE jobs SET status = 'running', attempt = 3, lease_expires_at = now() - interval '1 s'"
    )
    assert reclaim_expired(sessions, 3) == 1
    assert world.job(job.id).status == "failed"
    assert world.rows("SELECT status, error_code FROM datasets WHERE id = :id", id=dataset.id) == [
        ("rejected", "worker_lost")
    ]
