"""Lists among thousands of rows: what they show, and that they read what they show and little more.

How many rows a query reads is what PostgreSQL counts in the transaction: it needs neither a clock nor a plan.
"""

import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.database import async_engine
from app.core.settings import Settings
from app.core.sight import SeeingSessions, Sight
from app.deletion_requests import repository as requests
from app.jobs import repository as jobs
from models.states import JOB_STATUSES, RunStatus
from tests.app.world import World

pytestmark = pytest.mark.anyio

PAGE = 20
# A page in each of the statuses, its details, and what belongs to the rows that it shows. Far below MANY.
MOST_READ = 1000
MANY = 4000

_JOBS = """
INSERT INTO jobs (id, tenant_id, kind, registered_model_id, method, status, finished_at)
SELECT uuidv7(), tenant_id, 'unlearn', id, 'retrain', :status, CASE WHEN :status <> 'queued' THEN now() END
FROM registered_models, generate_series(1, :many) WHERE name = :model
"""
_REQUESTS = """
INSERT INTO deletion_requests (id, tenant_id, dataset_id, registered_model_id, tasks, scope, method,
  instance_count, hash_key_id, due_at, status, approval, reference)
SELECT uuidv7(), tenant_id, dataset_id, CASE WHEN CAST(:status AS text) IS NOT NULL THEN id END, '{digit}',
  'partial', 'retrain', 1, 'k1', now(), :status,
  CASE WHEN :status = 'awaiting_approval' THEN CAST('{}' AS jsonb) END, :reference
FROM registered_models, generate_series(1, :many) WHERE name = :model
"""
_CHILDREN = """
INSERT INTO deletion_requests (id, tenant_id, dataset_id, registered_model_id, parent_id, tasks, scope,
  method, instance_count, hash_key_id, due_at, status, approval, reference)
SELECT uuidv7(), whole.tenant_id, whole.dataset_id, model.id, whole.id, '{digit}', 'partial', 'retrain', 1,
  'k1', now(), :status, CASE WHEN :status = 'awaiting_approval' THEN CAST('{}' AS jsonb) END, whole.reference
FROM deletion_requests AS whole, registered_models AS model
WHERE whole.status IS NULL AND whole.reference = :reference AND model.name = :model
"""
_SPREAD_OVER_JOBS = """
UPDATE deletion_requests SET job_id = job.id
FROM (SELECT id, row_number() OVER () AS number FROM jobs WHERE kind = 'unlearn') AS job
JOIN (SELECT id, row_number() OVER () AS number FROM deletion_requests) AS request USING (number)
WHERE deletion_requests.id = request.id
"""
_READ = text(
    "SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(oid)), 0) FROM pg_class"
    " WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace"
)


@dataclass(frozen=True)
class Many:
    world: World
    sight: Sight
    sessions: async_sessionmaker[AsyncSession]

    def seeing(self, *models: uuid.UUID) -> SeeingSessions:
        return SeeingSessions(self.sessions, Sight(self.sight.tenant_id, models or None))


@pytest.fixture
async def many(world: World, settings: Settings, anyio_backend: str):
    """The model `busy` with thousands of requests and jobs, all queued, and `idle` with none; and thousands
    of requests on the data set, each of them with two children, one done and one queued."""
    for model in ("busy", "second", "idle"):
        world.ready_model(name=model)
    world.run(_JOBS, status="queued", many=MANY, model="busy")
    world.run(_REQUESTS, status="queued", reference="all-of-them", many=MANY, model="busy")
    world.run(_SPREAD_OVER_JOBS)
    world.run(_REQUESTS, status=None, reference="whole", many=MANY, model="busy")
    for model, status in (("busy", "queued"), ("second", "queued")):
        world.run(_CHILDREN, status=status, reference="whole", model=model)
    with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine = async_engine(settings)
    yield Many(world, Sight(world.tenant()), async_sessionmaker(engine))
    await engine.dispose()


def _model(world: World, name: str) -> uuid.UUID:
    found: uuid.UUID = world.run("SELECT id FROM registered_models WHERE name = :name", name=name)
    return found


async def _ask(
    many: Many, what: Callable[..., object], *limited_to: uuid.UUID, **asked: object
) -> tuple[int, int]:
    """How many rows it shows, and how many it reads for that."""
    filters = {"model_id": None, "status": None, "after": None} | asked
    if what is requests.page:
        filters = {"reference": None} | filters
    async with many.seeing(*limited_to).begin() as session:
        before = await session.scalar(_READ)
        rows = await what(session, many.sight.tenant_id, limit=PAGE, limited_to=limited_to or None, **filters)
        after = await session.scalar(_READ)
    return len(rows), int(after - before)


async def test_requests_are_listed_by_any_status_without_reading_the_others(many: Many) -> None:
    for status in (None, *RunStatus):
        if status == "running":  # which those with a part that is queued may be: see the next test
            continue
        shown, read = await _ask(many, requests.page, status=status)
        assert shown == (PAGE if status in (None, "queued") else 0)
        assert read < MOST_READ, (status, read)


async def test_what_runs_is_looked_for_among_what_has_parts_that_run_or_wait(many: Many) -> None:
    """Of requests on data sets; those whose parts are all done are left alone."""
    many.world.run("ALTER TABLE deletion_requests DISABLE TRIGGER enforce_transition")
    many.world.run("UPDATE deletion_requests SET status = 'succeeded' WHERE parent_id IS NOT NULL")
    many.world.run("ALTER TABLE deletion_requests ENABLE TRIGGER enforce_transition")
    with many.world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    shown, read = await _ask(many, requests.page, status="running")
    assert shown == 0
    assert read < MOST_READ, read


async def test_requests_of_one_model_are_listed_without_reading_those_of_others(many: Many) -> None:
    for status in (None, "queued", "failed"):
        for model, expected in (("busy", 0 if status == "failed" else PAGE), ("idle", 0)):
            shown, read = await _ask(many, requests.page, status=status, model_id=_model(many.world, model))
            assert shown == expected
            assert read < MOST_READ, (status, model, read)


async def test_requests_are_found_by_their_reference(many: Many) -> None:
    for reference in ("all-of-them", "nobody's"):
        for status in (None, "failed"):
            shown, read = await _ask(many, requests.page, status=status, reference=reference)
            assert shown == (PAGE if (reference, status) == ("all-of-them", None) else 0)
            assert read < MOST_READ, (status, reference, read)


async def test_a_key_that_is_limited_to_an_idle_model_does_not_read_what_belongs_to_others(
    many: Many,
) -> None:
    idle = _model(many.world, "idle")
    for what in (requests.page, jobs.page):
        shown, read = await _ask(many, what, idle)
        assert shown == 0
        assert read < MOST_READ, read


async def test_jobs_are_listed_without_reading_the_others(many: Many) -> None:
    for model in (None, "busy", "idle"):
        model_id = _model(many.world, model) if model else None
        for status in (None, *JOB_STATUSES):
            shown, read = await _ask(many, jobs.page, status=status, model_id=model_id)
            assert shown == (PAGE if model != "idle" and status in (None, "queued") else 0)
            assert read < MOST_READ, (model, status, read)


async def test_every_page_shows_what_a_slow_and_obvious_reading_shows(
    world: World, settings: Settings
) -> None:
    """Requests of every status, alone and below one on the data set, in any mixture."""
    draw = random.Random(7)
    names = ("busy", "second", "third")
    models = {name: world.ready_model(name=name) for name in names}
    for number in range(30):
        status = draw.choice(list(RunStatus))
        world.run(_REQUESTS, status=status, reference=f"r{number % 3}", many=1, model="busy")
        world.run(_REQUESTS, status=None, reference=f"whole-{number}", many=1, model="busy")
        for name in draw.sample(names, draw.randint(1, 3)):
            status = draw.choice(("succeeded", draw.choice(list(RunStatus))))
            world.run(_CHILDREN, status=status, reference=f"whole-{number}", model=name)
    rows = world.rows(
        "SELECT id, parent_id, registered_model_id AS model, status, reference FROM deletion_requests"
    )
    engine = async_engine(settings)
    many = Many(world, Sight(world.tenant()), async_sessionmaker(engine))
    for status in (None, *RunStatus):
        for model in (None, models["second"]):
            for reference in (None, "r1", "whole-4"):
                expected = _obvious(rows, status, model, reference)
                assert await _walk(many, status, model, reference) == expected, (status, model, reference)
    await engine.dispose()


def _obvious(
    rows: Sequence[object], status: str | None, model: uuid.UUID | None, reference: str | None
) -> list[uuid.UUID]:
    def of(row) -> str:
        if row.status is not None:
            return row.status
        parts = {child.status for child in rows if child.parent_id == row.id}
        for moving in ("needs_review", "awaiting_approval", "cancelling", "running"):
            if moving in parts:
                return moving
        if "queued" in parts:
            return "running" if parts & {"succeeded", "failed"} else "queued"
        return next(done for done in ("failed", "succeeded", "cancelled") if done in parts)

    shown = [
        row.id
        for row in rows
        if (row.model == model if model else row.parent_id is None)
        and (status is None or of(row) == status)
        and (reference is None or row.reference == reference)
    ]
    return sorted(shown, reverse=True)


async def _walk(
    many: Many, status: str | None, model: uuid.UUID | None, reference: str | None
) -> list[uuid.UUID]:
    """All pages of seven."""
    seen: list[uuid.UUID] = []
    while True:
        async with many.seeing().begin() as session:
            rows = await requests.page(
                session,
                many.sight.tenant_id,
                model_id=model,
                status=status,
                reference=reference,
                after=seen[-1] if seen else None,
                limit=7,
                limited_to=None,
            )
        seen += [row.id for row in rows]
        if len(rows) < 7:
            return seen
