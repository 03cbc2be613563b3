"""The gauges that the database tells, read when somebody looks. docs/operations.md says what they mean.

Every API process reads the same rows: aggregate over instances with max(), not with sum().
"""

import asyncio
import time

from prometheus_client import Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core import metrics

SECONDS_BETWEEN_READINGS = 5.0

_QUEUE = text("""
SELECT count(*) FILTER (WHERE status = 'queued') AS queued,
  count(*) FILTER (WHERE status IN ('running', 'cancelling')) AS running,
  count(*) FILTER (WHERE status = 'needs_review') AS needs_review,
  count(*) FILTER (WHERE lease_expires_at < now()) AS expired,
  coalesce(extract(epoch FROM now() - min(created_at)
    FILTER (WHERE status = 'queued' AND not_before <= now())), 0) AS oldest,
  (SELECT count(*) FROM outbox WHERE sent_at IS NULL) AS unsent,
  (SELECT count(*) FROM webhook_deliveries WHERE status = 'pending' AND attempts > 0) AS failing,
  (SELECT count(*) FROM webhook_deliveries
   WHERE status <> 'pending' AND status = 'dead' AND finished_at > now() - interval '1 day') AS given_up
FROM jobs WHERE status IN ('queued', 'running', 'cancelling', 'needs_review')
""")
_MODELS = text("""
SELECT tenant.name AS tenant, model.name AS model, count(*) AS unsettled,
  extract(epoch FROM now() - min(request.created_at)) AS oldest,
  extract(epoch FROM min(request.due_at) - now()) / 86400 AS due_days,
  count(*) FILTER (WHERE request.status = 'awaiting_approval') AS awaiting
FROM deletion_requests AS request
JOIN registered_models AS model ON model.id = request.registered_model_id
JOIN tenants AS tenant ON tenant.id = request.tenant_id
WHERE request.status NOT IN ('succeeded', 'failed', 'cancelled')
GROUP BY tenant.name, model.name
""")
# Ids are time-ordered: the primary key finds the last day's. A version 7 UUID begins with 48 bits of
# Unix milliseconds.
_LAST_DAY = """
WITH recent AS (
  SELECT attempt.job_id, attempt.outcome, attempt.error_code FROM attempts AS attempt
  WHERE attempt.id > CAST(lpad(to_hex(CAST(extract(epoch FROM now() - interval '1 day') * 1000 AS bigint)),
                               12, '0') || repeat('0', 20) AS uuid)
)
"""
_ATTEMPTS = text(
    _LAST_DAY + "SELECT coalesce(outcome, 'running') AS label, count(*) AS value FROM recent GROUP BY 1"
)
_FAILURES = text(
    _LAST_DAY
    + "SELECT error_code AS label, count(*) AS value FROM recent WHERE error_code IS NOT NULL GROUP BY 1"
)
_RUNS = (
    _LAST_DAY
    + ", runs AS (SELECT report -> 'run' AS run FROM jobs WHERE report -> 'run' IS NOT NULL"
    + " AND id IN (SELECT job_id FROM recent WHERE outcome = 'succeeded'))"
)
_PHASES = text(
    _RUNS
    + "SELECT phase.key AS label, avg(CAST(phase.value AS float8)) AS value,"
    + " max(CAST(phase.value AS float8)) AS most"
    + " FROM runs, jsonb_each_text(CASE jsonb_typeof(run -> 'seconds') WHEN 'object' THEN run -> 'seconds'"
    + " ELSE '{}' END) AS phase GROUP BY 1"
)
_MEMORY = text(
    _RUNS
    + "SELECT coalesce(run ->> 'device', 'unknown') AS label,"
    + " max(CAST(run ->> 'peak_memory_bytes' AS float8)) AS value FROM runs GROUP BY 1"
)


class QueueGauges:
    """Reads the database for scrapers, however many there are and however often they come."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions
        self._reading = asyncio.Lock()
        self._next = 0.0

    async def refresh(self) -> None:
        """Unless they were read a moment ago. Raises SQLAlchemy's errors when the database is away."""
        async with self._reading:
            if time.monotonic() < self._next:
                return
            try:
                async with self._sessions() as session:
                    await _refresh(session)
            finally:
                self._next = time.monotonic() + SECONDS_BETWEEN_READINGS


async def _refresh(session: AsyncSession) -> None:
    row = (await session.execute(_QUEUE)).one()
    metrics.QUEUED_JOBS.set(row.queued)
    metrics.RUNNING_JOBS.set(row.running)
    metrics.REVIEWED_JOBS.set(row.needs_review)
    metrics.EXPIRED_LEASES.set(row.expired)
    metrics.OLDEST_QUEUED_SECONDS.set(float(row.oldest))
    metrics.UNSENT.set(row.unsent)
    metrics.WEBHOOKS_FAILING.set(row.failing)
    metrics.WEBHOOKS_GIVEN_UP.set(row.given_up)
    await _refresh_models(session)
    await _refresh_labelled(session, _ATTEMPTS, metrics.ATTEMPTS)
    await _refresh_labelled(session, _FAILURES, metrics.FAILURES)
    await _refresh_labelled(session, _PHASES, metrics.PHASE_SECONDS, metrics.PHASE_SECONDS_MAX)
    await _refresh_labelled(session, _MEMORY, metrics.PEAK_MEMORY)


async def _refresh_models(session: AsyncSession) -> None:
    rows = (await session.execute(_MODELS)).all()
    for gauge in (
        metrics.REQUESTS_UNSETTLED,
        metrics.AWAITING_APPROVAL,
        metrics.OLDEST_REQUEST_SECONDS,
        metrics.DUE_DAYS,
    ):
        gauge.clear()  # models that are done must not stay as they were
    for row in rows:
        metrics.REQUESTS_UNSETTLED.labels(row.tenant, row.model).set(row.unsettled)
        metrics.AWAITING_APPROVAL.labels(row.tenant, row.model).set(row.awaiting)
        metrics.OLDEST_REQUEST_SECONDS.labels(row.tenant, row.model).set(float(row.oldest))
        if row.due_days is not None:
            metrics.DUE_DAYS.labels(row.tenant, row.model).set(float(row.due_days))


async def _refresh_labelled(
    session: AsyncSession, statement: object, gauge: Gauge, most: Gauge | None = None
) -> None:
    """A gauge of one label from rows of `label`, `value` and, for a second gauge, `most`."""
    rows = (await session.execute(statement)).all()  # type: ignore[call-overload]
    gauge.clear()
    if most is not None:
        most.clear()
    for row in rows:
        if row.value is None:
            continue
        gauge.labels(row.label).set(float(row.value))
        if most is not None:
            most.labels(row.label).set(float(row.most))
