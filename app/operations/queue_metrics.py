"""The queue's gauges, read when somebody looks."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.metrics import OLDEST_QUEUED_SECONDS, QUEUED_JOBS, RUNNING_JOBS

_QUEUE = text(
    "SELECT count(*) FILTER (WHERE status = 'queued') AS queued,"
    " count(*) FILTER (WHERE status <> 'queued') AS running,"
    " coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE status = 'queued')), 0) AS oldest"
    " FROM jobs WHERE status IN ('queued', 'running', 'cancelling')"
)


async def refresh(session: AsyncSession) -> None:
    row = (await session.execute(_QUEUE)).one()
    QUEUED_JOBS.set(row.queued)
    RUNNING_JOBS.set(row.running)
    OLDEST_QUEUED_SECONDS.set(float(row.oldest))
