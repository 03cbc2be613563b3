"""Leases are renewed by the database's clock, and a run knows when it has lost its own."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import create_engine

from app.standalone.postgres import PostgresServer
from chaos.freezing import frozen_postgres
from tests.worker.processes import wait_until
from tests.worker.world import World
from worker.equipment import Equipment
from worker.jobs.claim import claim_next
from worker.jobs.heartbeat import Heartbeat, Order
from worker.jobs.lease import Claim, LeaseLost, held_job
from worker.jobs.watchdog import Watchdog


def nothing() -> None:
    return None


def never() -> Watchdog:
    """A watchdog that has no reason to bite."""
    return Watchdog(3600.0, nothing)


@contextmanager
def beating(
    equipment: Equipment, claim: Claim, seconds: float = 3.0, sample: Callable[[], None] = nothing
) -> Iterator[Heartbeat]:
    with Heartbeat(equipment.heartbeats, claim, seconds, sample, never()) as heartbeat:
        yield heartbeat


@pytest.fixture
def claim(world: World, equipment: Equipment) -> Claim:
    model = world.ready_model(world.tenant())
    world.job_with_request(model)
    claimed = claim_next(equipment.sessions, equipment.settings, equipment.name)
    assert claimed is not None
    return claimed


def test_a_beat_renews_the_lease_and_carries_progress_out(
    world: World, equipment: Equipment, claim: Claim
) -> None:
    before = world.job(claim.job_id)
    heartbeat = Heartbeat(equipment.heartbeats, claim, 60, nothing, never())
    heartbeat.tell(3, 10, "unlearning")
    heartbeat.beat()
    after = world.job(claim.job_id)
    assert after.lease_expires_at is not None
    assert before.lease_expires_at is not None
    assert after.lease_expires_at > before.lease_expires_at
    assert after.progress == {"done": 3, "total": 10, "note": "unlearning"}
    assert after.revision == before.revision + 1
    heartbeat.beat()
    assert world.job(claim.job_id).revision == after.revision  # nothing new for who polls


@pytest.mark.parametrize(
    ("change", "order"),
    [
        ("UPDATE jobs SET drain_requested_at = now()", Order.DRAIN),
        ("UPDATE jobs SET status = 'cancelling', cancel_requested_at = now()", Order.CANCEL),
        ("UPDATE deletion_requests SET status = 'cancelling', cancel_requested_at = now()", Order.CANCEL),
        ("UPDATE jobs SET fence = fence + 1", Order.LOST),
        ("UPDATE jobs SET lease_expires_at = now() - interval '1 second'", Order.LOST),
        ("UPDATE jobs SET status = 'queued', lease_expires_at = NULL", Order.LOST),
    ],
)
def test_a_beat_brings_orders_in(
    world: World, equipment: Equipment, claim: Claim, change: str, order: Order
) -> None:
    world.execute(change)
    heartbeat = Heartbeat(equipment.heartbeats, claim, 60, nothing, never())
    heartbeat.expect(1)
    heartbeat.beat()
    assert heartbeat.order is order


@pytest.mark.usefixtures("quick_heart")
def test_the_thread_beats_on_its_own(world: World, equipment: Equipment, claim: Claim) -> None:
    before = world.job(claim.job_id).lease_expires_at
    assert before is not None
    with beating(equipment, claim, 10.0) as heartbeat:
        wait_until(lambda: (world.job(claim.job_id).lease_expires_at or before) > before)
        world.execute("UPDATE jobs SET drain_requested_at = now()")
        wait_until(lambda: heartbeat.order is Order.DRAIN)


def test_a_lease_that_nobody_could_renew_counts_as_lost(equipment: Equipment, claim: Claim) -> None:
    """The database is away: nobody says so, but the lease runs out."""
    away = create_engine(
        "postgresql+psycopg://nobody@127.0.0.1:1/nothing", connect_args={"connect_timeout": 1}
    )
    with Heartbeat(away, claim, 0.6, nothing, never()) as heartbeat:
        assert heartbeat.order is None
        wait_until(lambda: heartbeat.order is Order.LOST)


def test_a_broken_heartbeat_is_noticed_by_its_age(equipment: Equipment, claim: Claim) -> None:
    def broken() -> None:
        raise RuntimeError("a fault of ours")

    with beating(equipment, claim, 0.6, broken) as heartbeat:
        wait_until(lambda: heartbeat.order is Order.LOST)


def test_one_that_hung_renews_nothing_when_its_run_is_over(
    world: World, equipment: Equipment, claim: Claim, postgres: PostgresServer
) -> None:
    """The run waits for one lease and no longer; what the database still had to say comes too late."""
    before = world.job(claim.job_id).lease_expires_at
    with ExitStack() as frozen:
        with beating(equipment, claim, 1.0) as heartbeat:
            wait_until(lambda: world.job(claim.job_id).lease_expires_at != before)
            frozen.enter_context(frozen_postgres(postgres))
            wait_until(lambda: heartbeat.order is Order.LOST)
        assert heartbeat._thread.is_alive()
    heartbeat._thread.join(20)
    assert not heartbeat._thread.is_alive()
    expired = "SELECT count(*) FROM jobs WHERE lease_expires_at < clock_timestamp()"
    assert world.rows(expired) == [(1,)]


@pytest.mark.usefixtures("quick_heart")
def test_it_beats_while_the_interpreter_is_busy(world: World, equipment: Equipment, claim: Claim) -> None:
    with beating(equipment, claim, 1.5) as heartbeat:
        renewed = world.job(claim.job_id).lease_expires_at
        end = time.monotonic() + 1.6
        while time.monotonic() < end:
            sum(range(10_000))
        assert heartbeat.order is None
        assert world.job(claim.job_id).lease_expires_at != renewed


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET fence = fence + 1",
        "UPDATE jobs SET lease_expires_at = now() - interval '1 second'",
        "UPDATE jobs SET status = 'queued', lease_expires_at = NULL",
    ],
)
def test_only_the_holder_of_the_fence_and_of_a_live_lease_may_act(
    world: World, equipment: Equipment, claim: Claim, change: str
) -> None:
    with equipment.sessions.begin() as session:
        assert held_job(session, claim).id == claim.job_id
    world.execute(change)
    with equipment.sessions.begin() as session, pytest.raises(LeaseLost):
        held_job(session, claim)
