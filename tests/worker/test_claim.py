"""Which job is next, and that it is only ever one worker's."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from tests.worker.world import World
from worker.equipment import Equipment
from worker.jobs.claim import claim_next
from worker.jobs.lease import Claim

NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)


def claim(equipment: Equipment) -> Claim:
    claimed = claim_next(equipment.sessions, equipment.settings, equipment.name)
    assert claimed is not None
    return claimed


def test_due_dates_come_first_and_by_the_day(world: World, equipment: Equipment) -> None:
    tenant = world.tenant()
    undated, later, evening, noon = (
        world.open_job(world.ready_model(tenant), due_at=due)
        for due in (None, NOON + timedelta(days=1), NOON + timedelta(hours=8), NOON)
    )
    claimed = [claim(equipment).job_id for _ in range(4)]
    assert claimed == [evening.id, noon.id, later.id, undated.id]


def test_within_a_day_tenants_take_turns(world: World, equipment: Equipment) -> None:
    busy, quiet = world.tenant("busy"), world.tenant("quiet")
    first, second = (world.open_job(world.ready_model(busy), due_at=NOON) for _ in range(2))
    other = world.open_job(world.ready_model(quiet), due_at=NOON)
    assert [claim(equipment).job_id for _ in range(3)] == [first.id, other.id, second.id]


def soon(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_a_request_near_its_due_date_overtakes(world: World, equipment: Equipment) -> None:
    busy, quiet = world.tenant("busy"), world.tenant("quiet")
    world.execute("UPDATE tenants SET last_claimed_at = now() WHERE name = 'busy'")
    calm = world.open_job(world.ready_model(quiet), due_at=soon(30))
    pressing = world.open_job(world.ready_model(busy), due_at=soon(2))
    overdue = world.open_job(world.ready_model(busy), due_at=soon(-3))
    assert [claim(equipment).job_id for _ in range(3)] == [overdue.id, pressing.id, calm.id]


def test_no_tenant_starves_another_by_naming_a_regulation(world: World, equipment: Equipment) -> None:
    """Due dates that are weeks away give nobody a turn more."""
    dated, undated = world.tenant("dated"), world.tenant("undated")
    theirs = [world.open_job(world.ready_model(dated), due_at=soon(30)) for _ in range(3)]
    own = [world.open_job(world.ready_model(undated)) for _ in range(2)]
    claimed = [claim(equipment).job_id for _ in range(5)]
    assert claimed == [theirs[0].id, own[0].id, theirs[1].id, own[1].id, theirs[2].id]


def test_what_was_begun_goes_on_before_anything_new_is_begun(world: World, equipment: Equipment) -> None:
    """A lost lease or a deploy takes nobody's turn; what is urgent still goes first."""
    busy, quiet = world.tenant("busy"), world.tenant("quiet")
    interrupted = world.open_job(world.ready_model(busy))
    assert claim(equipment).job_id == interrupted.id
    other, dated = (
        world.open_job(world.ready_model(quiet)),
        world.open_job(world.ready_model(busy), due_at=soon(30)),
    )
    pressing = world.open_job(world.ready_model(quiet), due_at=soon(2))
    world.execute(
        "UPDATE jobs SET status = 'queued', phase = NULL, lease_expires_at = NULL WHERE id = :id",
        id=interrupted.id,
    )
    claimed = [claim(equipment).job_id for _ in range(4)]
    assert claimed == [pressing.id, interrupted.id, other.id, dated.id]


def test_what_has_no_due_date_becomes_urgent_all_the_same(world: World, equipment: Equipment) -> None:
    tenant = world.tenant()
    newer = world.open_job(world.ready_model(tenant), due_at=soon(10))
    old = world.open_job(world.ready_model(tenant))
    world.execute("UPDATE jobs SET created_at = now() - interval '25 days' WHERE id = :id", id=old.id)
    assert [claim(equipment).job_id for _ in range(2)] == [old.id, newer.id]


def test_claiming_closes_the_job_and_leases_it(world: World, equipment: Equipment) -> None:
    model = world.ready_model(world.tenant())
    job = world.open_job(model, accepts_requests=True)
    request = world.deletion(model, job)
    claimed = claim(equipment)
    held = world.job(job.id)
    assert (held.status, held.phase, held.fence, held.attempt) == ("running", "loading", 1, 1)
    assert (held.accepts_requests, held.lease_holder) == (False, "worker-one")
    assert held.base_version_id == claimed.base_version_id == model.head_version_id
    lease = world.value(
        "SELECT extract(epoch FROM lease_expires_at - now()) FROM jobs WHERE id = :id", id=job.id
    )
    assert 0 < lease <= equipment.settings.lease_seconds
    assert world.request(request.id).status == "running"
    told = world.rows("SELECT subject_id, type FROM events ORDER BY id")
    assert told == [(request.id, "request.running"), (job.id, "job.running")]
    assert (
        world.value("SELECT worker FROM attempts WHERE job_id = :id AND fence = 1", id=job.id) == "worker-one"
    )


def test_nothing_is_claimed_before_its_back_off_is_over(world: World, equipment: Equipment) -> None:
    job = world.open_job(world.ready_model(world.tenant()))
    world.execute("UPDATE jobs SET not_before = now() + interval '1 hour' WHERE id = :id", id=job.id)
    assert claim_next(equipment.sessions, equipment.settings, "w") is None


@pytest.mark.parametrize("status", ["running", "cancelling", "needs_review"])
def test_a_job_holds_up_its_models_line(world: World, equipment: Equipment, status: str) -> None:
    model = world.ready_model(world.tenant())
    first, second = world.open_job(model), world.open_job(model)
    assert claim(equipment).job_id == first.id
    if status == "needs_review":
        world.execute(
            "UPDATE jobs SET status = 'needs_review', lease_expires_at = NULL WHERE id = :id", id=first.id
        )
    elif status == "cancelling":
        world.execute("UPDATE jobs SET status = 'cancelling' WHERE id = :id", id=first.id)
    assert claim_next(equipment.sessions, equipment.settings, "w") is None
    assert world.job(second.id).status == "queued"


def test_an_approved_candidate_goes_before_more_urgent_jobs_of_its_model(
    world: World, equipment: Equipment
) -> None:
    model = world.ready_model(world.tenant())
    approved, urgent = world.open_job(model), world.open_job(model, due_at=NOON)
    world.execute(
        "UPDATE jobs SET approved_at = now(), base_version_id = :head WHERE id = :id",
        id=approved.id,
        head=model.head_version_id,
    )
    assert claim(equipment).job_id == approved.id
    assert world.job(urgent.id).status == "queued"


def test_a_candidate_whose_base_is_no_longer_head_is_not_published(
    world: World, equipment: Equipment
) -> None:
    model = world.ready_model(world.tenant())
    job = world.open_job(model)
    artifact = world.value("SELECT artifact_id FROM model_versions")
    world.execute(
        "UPDATE jobs SET approved_at = now(), candidate_artifact_id = :artifact, "
        " snapshot_artifact_id = :artifact, base_version_id = NULL WHERE id = :id",
        id=job.id,
        artifact=artifact,
    )
    assert claim(equipment).approved is False
    held = world.job(job.id)
    assert (held.candidate_artifact_id, held.snapshot_artifact_id, held.approved_at) == (None, None, None)


def test_a_job_is_failed_for_good_after_the_cap_of_attempts(world: World, equipment: Equipment) -> None:
    model = world.ready_model(world.tenant())
    job, request = world.job_with_request(model)
    world.execute(
        "UPDATE jobs SET attempt = 3, error_code = 'worker_lost', error_detail = 'It fell silent.'"
        " WHERE id = :id",
        id=job.id,
    )
    assert claim_next(equipment.sessions, equipment.settings, "w") is None
    failed, told = world.job(job.id), world.request(request.id)
    assert (failed.status, failed.error_code, failed.error_detail) == (
        "failed",
        "worker_lost",
        "It fell silent.",
    )
    assert (told.status, told.error_code) == ("failed", "worker_lost")


def test_racing_claimers_share_the_jobs_and_models_run_one_at_a_time(
    world: World, equipment: Equipment
) -> None:
    tenant = world.tenant()
    models = [world.ready_model(tenant) for _ in range(4)]
    for model in models:
        world.open_job(model)
        world.open_job(model)
    claims: list[Claim | None] = []
    start = threading.Barrier(6)

    def race(name: str) -> None:
        start.wait()
        claims.extend(claim_next(equipment.sessions, equipment.settings, name) for _ in range(2))

    threads = [threading.Thread(target=race, args=(f"worker-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [claimed for claimed in claims if claimed is not None]
    assert len({claimed.registered_model_id for claimed in taken}) == len(taken) == 4
    assert world.value("SELECT count(*) FROM jobs WHERE status = 'running'") == 4


def test_a_stream_of_requests_that_lock_the_open_job_does_not_starve_it(
    world: World, equipment: Equipment
) -> None:
    job = world.open_job(world.ready_model(world.tenant()), accepts_requests=True)
    claims: list[Claim | None] = []
    with world.engine.connect() as poster:
        poster.execute(text("SELECT 1 FROM jobs WHERE id = :id FOR UPDATE"), {"id": job.id})
        worker = threading.Thread(
            target=lambda: claims.append(claim_next(equipment.sessions, equipment.settings, "w"))
        )
        worker.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while world.value(waiting) == 0:
            assert worker.is_alive()
        poster.commit()
    worker.join()
    assert claims[0] is not None
    assert claims[0].job_id == job.id
