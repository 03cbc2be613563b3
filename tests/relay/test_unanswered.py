"""Cancellations that no worker carries out, and candidates that nobody decides on."""

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.relay.unanswered import cancel_unheard, expire_reviews
from models import DeletionRequest, Job
from tests.worker.world import World


@pytest.fixture
def running(world: World) -> tuple[Job, DeletionRequest]:
    """A job whose worker goes on renewing its lease, and does nothing else."""
    job, request = world.job_with_request(world.ready_model(world.tenant()))
    world.execute(
        "UPDATE jobs SET status = 'running', fence = 1, attempt = 1, lease_holder = 'hangs',"
        " lease_expires_at = now() + interval '1 hour' WHERE id = :id",
        id=job.id,
    )
    world.execute("UPDATE deletion_requests SET status = 'running'")
    world.execute(
        "INSERT INTO attempts (id, tenant_id, job_id, fence, worker)"
        " SELECT gen_random_uuid(), tenant_id, id, 1, 'hangs' FROM jobs WHERE id = :id",
        id=job.id,
    )
    return job, request


def ask_to_cancel(world: World, table: str, seconds: int) -> None:
    world.execute(
        f"UPDATE {table} SET status = 'cancelling',"
        " cancel_requested_at = now() - make_interval(secs => :seconds) WHERE status = 'running'",
        seconds=seconds,
    )


def test_a_worker_has_a_moment_to_cancel_by_itself(
    world: World, sessions: sessionmaker[Session], running: tuple[Job, DeletionRequest]
) -> None:
    ask_to_cancel(world, "deletion_requests", 2)
    ask_to_cancel(world, "jobs", 2)
    assert cancel_unheard(sessions) == 0


def test_then_the_job_is_cancelled_and_the_model_is_free(
    world: World, sessions: sessionmaker[Session], running: tuple[Job, DeletionRequest]
) -> None:
    job, request = running
    ask_to_cancel(world, "deletion_requests", 8)
    ask_to_cancel(world, "jobs", 8)
    assert cancel_unheard(sessions) == 1
    assert (world.job(job.id).status, world.job(job.id).lease_holder) == ("cancelled", None)
    assert world.request(request.id).status == "cancelled"
    assert world.value("SELECT outcome FROM attempts") == "cancelled"


def test_one_request_of_several_is_taken_back_while_the_job_goes_on(
    world: World, sessions: sessionmaker[Session], running: tuple[Job, DeletionRequest]
) -> None:
    job, request = running
    ask_to_cancel(world, "deletion_requests", 8)
    assert cancel_unheard(sessions) == 1
    assert world.request(request.id).status == "cancelled"
    assert world.request(request.id).finished_at is not None
    assert world.job(job.id).status == "running"


@pytest.mark.parametrize(("days", "expires"), [(29, False), (31, True)])
def test_a_review_expires(
    world: World,
    sessions: sessionmaker[Session],
    running: tuple[Job, DeletionRequest],
    days: int,
    expires: bool,
) -> None:
    job, request = running
    world.execute(
        "UPDATE jobs SET status = 'needs_review', lease_expires_at = NULL, error_code = 'gate_missed',"
        " error_detail = 'Too bad.' WHERE id = :id",
        id=job.id,
    )
    world.execute("UPDATE deletion_requests SET status = 'needs_review' WHERE id = :id", id=request.id)
    world.execute(
        "UPDATE attempts SET outcome = 'needs_review', finished_at = now() - make_interval(days => :days)",
        days=days,
    )
    assert expire_reviews(sessions, 30) == int(expires)
    told = world.request(request.id)
    if not expires:
        assert told.status == "needs_review"
        return
    assert (world.job(job.id).status, world.job(job.id).error_code) == ("failed", "review_expired")
    assert (told.status, told.error_code) == ("failed", "review_expired")
    assert "Too bad." in (told.error_detail or "")
    assert world.value("SELECT outcome FROM attempts") == "needs_review"
