"""The gauges that the database tells, read when somebody looks. docs/operations.md says what they mean.

Every API process reads the same rows: aggregate over instances with max(), not with sum().
"""

import time
from typing import Any

from prometheus_client import Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core import metrics

SECONDS_BETWEEN_READINGS = 5.0

# Over all tenants, which this role cannot see: `models.queue_gauges` has what it reads.
_GAUGES = text("SELECT queue_gauges()")


class QueueGauges:
    """Reads the database for scrapers, however often they come; one at a time, which `AskedOnce` sees to."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions
        self._next = 0.0

    async def refresh(self) -> None:
        """Unless they were read a moment ago. Raises SQLAlchemy's errors when the database is away."""
        if time.monotonic() < self._next:
            return
        try:
            async with self._sessions() as session:
                await _refresh(session)
        finally:
            self._next = time.monotonic() + SECONDS_BETWEEN_READINGS


async def _refresh(session: AsyncSession) -> None:
    read = (await session.execute(_GAUGES)).scalar_one()
    queue = read["queue"]
    metrics.QUEUED_JOBS.set(queue["queued"])
    metrics.RUNNING_JOBS.set(queue["running"])
    metrics.REVIEWED_JOBS.set(queue["needs_review"])
    metrics.EXPIRED_LEASES.set(queue["expired"])
    metrics.OLDEST_QUEUED_SECONDS.set(queue["oldest"])
    metrics.UNSENT.set(queue["unsent"])
    metrics.WEBHOOKS_FAILING.set(queue["failing"])
    metrics.WEBHOOKS_GIVEN_UP.set(queue["given_up"])
    _set_models(read["models"])
    _set_labelled(read["attempts"], metrics.ATTEMPTS)
    _set_labelled(read["failures"], metrics.FAILURES)
    _set_labelled(read["phases"], metrics.PHASE_SECONDS, metrics.PHASE_SECONDS_MAX)
    _set_labelled(read["memory"], metrics.PEAK_MEMORY)


def _set_models(rows: list[dict[str, Any]]) -> None:
    for gauge in (
        metrics.REQUESTS_UNSETTLED,
        metrics.AWAITING_APPROVAL,
        metrics.OLDEST_REQUEST_SECONDS,
        metrics.DUE_DAYS,
    ):
        gauge.clear()  # models that are done must not stay as they were
    for row in rows:
        metrics.REQUESTS_UNSETTLED.labels(row["tenant"], row["model"]).set(row["unsettled"])
        metrics.AWAITING_APPROVAL.labels(row["tenant"], row["model"]).set(row["awaiting"])
        metrics.OLDEST_REQUEST_SECONDS.labels(row["tenant"], row["model"]).set(row["oldest"])
        if row["due_days"] is not None:
            metrics.DUE_DAYS.labels(row["tenant"], row["model"]).set(row["due_days"])


def _set_labelled(rows: list[dict[str, Any]], gauge: Gauge, most: Gauge | None = None) -> None:
    """A gauge of one label from rows of `label`, `value` and, for a second gauge, `most`."""
    gauge.clear()
    if most is not None:
        most.clear()
    for row in rows:
        if row["value"] is None:
            continue
        gauge.labels(row["label"]).set(row["value"])
        if most is not None:
            most.labels(row["label"]).set(row["most"])
