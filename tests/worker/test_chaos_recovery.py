"""When work goes on after a fault, as `make chaos` measures it."""

import uuid

import pytest

from chaos.recovery import begun_by_now, goes_on, is_settled, seconds_until
from chaos.service import LEASE_SECONDS
from tests.worker.world import World
from worker.equipment import Equipment
from worker.jobs.claim import claim_next

LOSE = "UPDATE jobs SET status = 'queued', phase = NULL, lease_expires_at = NULL, lease_holder = NULL"
RENEW = "UPDATE jobs SET lease_expires_at = clock_timestamp() + make_interval(secs => :seconds)"
REDUCE = "UPDATE jobs SET lease_expires_at = now() + interval '1 second'"


@pytest.fixture
def held(world: World, equipment: Equipment) -> uuid.UUID:
    """A job whose lease has a second left."""
    job = world.open_job(world.ready_model(world.tenant()))
    assert claim_next(equipment.sessions, equipment.settings, equipment.name)
    world.execute(REDUCE)
    return job.id


def test_where_nothing_is_to_be_done_work_goes_on(world: World) -> None:
    assert goes_on(world.rows, begun_by_now(world.rows))


def test_a_holder_that_is_gone_holds_work_up_until_it_is_claimed_anew(
    world: World, equipment: Equipment, held: uuid.UUID
) -> None:
    then = begun_by_now(world.rows)
    assert list(then.jobs) == [held]
    assert not goes_on(world.rows, then)
    world.execute(LOSE)
    assert not goes_on(world.rows, then)
    assert not goes_on(world.rows, begun_by_now(world.rows))
    assert claim_next(equipment.sessions, equipment.settings, "another")
    assert goes_on(world.rows, then)


def test_a_holder_that_renews_its_lease_goes_on(world: World, held: uuid.UUID) -> None:
    then = begun_by_now(world.rows)
    world.execute(RENEW, seconds=LEASE_SECONDS)
    assert goes_on(world.rows, then)


def test_work_does_not_go_on_while_nobody_takes_what_waits(world: World, equipment: Equipment) -> None:
    world.open_job(world.ready_model(world.tenant()))
    then = begun_by_now(world.rows)
    assert list(then.jobs) == []
    assert not goes_on(world.rows, then)
    assert claim_next(equipment.sessions, equipment.settings, equipment.name)
    assert goes_on(world.rows, then)


def test_what_waits_is_not_settled(world: World) -> None:
    model = world.ready_model(world.tenant())
    _job, request = world.job_with_request(model, instances=["p0"])
    assert not is_settled(world.rows, [str(request.id)])
    assert is_settled(world.rows, [])
    world.execute("UPDATE deletion_requests SET status = 'cancelled', finished_at = now()")
    assert is_settled(world.rows, [str(request.id)])


def test_what_never_holds_has_no_time() -> None:
    assert seconds_until(lambda: False, 0.0, 0.1) is None
