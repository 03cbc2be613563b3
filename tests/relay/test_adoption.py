"""Requests that wait without a job get one."""

from datetime import UTC, datetime

from sqlalchemy.orm import Session, sessionmaker

from app.relay.adoption import adopt_requests
from tests.worker.world import World

EARLY, LATE = datetime(2030, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)


def test_they_share_one_new_open_job(world: World, sessions: sessionmaker[Session]) -> None:
    model = world.ready_model(world.tenant())
    over = world.open_job(model)
    world.execute("UPDATE jobs SET status = 'failed' WHERE id = :id", id=over.id)
    world.execute("DELETE FROM outbox")
    orphans = [world.deletion(model, None), world.deletion(model, over)]
    world.execute("UPDATE deletion_requests SET due_at = :due", due=EARLY)
    assert adopt_requests(sessions) == 1
    assert adopt_requests(sessions) == 0
    [job_id] = {world.request(request.id).job_id for request in orphans}
    assert job_id is not None
    job = world.job(job_id)
    assert (job.status, job.accepts_requests, job.method, job.due_at) == ("queued", True, "retrain", EARLY)
    assert world.value("SELECT count(*) FROM outbox WHERE job_id = :id", id=job_id) == 1
    assert world.value("SELECT count(*) FROM events WHERE type = 'request.queued'") == 2


def test_they_join_the_open_job_and_hurry_it_up(world: World, sessions: sessionmaker[Session]) -> None:
    model = world.ready_model(world.tenant())
    job = world.open_job(model, accepts_requests=True, due_at=LATE)
    request = world.deletion(model, None)
    world.execute("UPDATE deletion_requests SET due_at = :due", due=EARLY)
    assert adopt_requests(sessions) == 1
    assert world.request(request.id).job_id == job.id
    assert world.job(job.id).due_at == EARLY


def test_those_that_have_a_job_stay_in_it(world: World, sessions: sessionmaker[Session]) -> None:
    world.job_with_request(world.ready_model(world.tenant()))
    assert adopt_requests(sessions) == 0
