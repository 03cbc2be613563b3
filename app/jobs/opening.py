"""Putting work in the queue: a request joins its model's open job, or opens one.

The database chooses what runs (design: the outbox row only wakes somebody up). These are the last
statements of their transactions, because they hold a row lock on the job.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.audit import event
from app.core.outbox import wake
from models import Job, JobKind, time_ordered_id

# A job that is open and at least as urgent is joined under a share lock: joiners do not wait for one
# another, while a worker's claim (FOR UPDATE) and a joiner exclude each other. Any other case goes
# through the unique index, which lets one of several openers win and the rest join.
_JOIN_OR_OPEN = text("""
WITH joined AS (
  SELECT id FROM jobs
  WHERE registered_model_id = :model_id AND method = :method AND accepts_requests
    AND (CAST(:due_at AS timestamptz) IS NULL OR due_at <= CAST(:due_at AS timestamptz))
  FOR SHARE
), opened AS (
  INSERT INTO jobs (id, tenant_id, kind, registered_model_id, method, accepts_requests, due_at,
    http_request_id)
  SELECT :job_id, :tenant_id, 'unlearn', :model_id, :method, true, CAST(:due_at AS timestamptz),
    :http_request_id
  WHERE NOT EXISTS (SELECT FROM joined)
  ON CONFLICT (registered_model_id, method) WHERE accepts_requests
  DO UPDATE SET due_at = LEAST(jobs.due_at, excluded.due_at), revision = jobs.revision + 1
  RETURNING id, xmax = 0 AS is_new
), job AS (
  SELECT id FROM joined UNION ALL SELECT id FROM opened
), opening AS (
  INSERT INTO events (tenant_id, subject_id, type)
  SELECT :tenant_id, id, 'job.queued' FROM opened WHERE is_new
), wake AS (
  INSERT INTO outbox (tenant_id, topic, job_id) SELECT :tenant_id, 'wake', id FROM opened
), placed AS (
  UPDATE deletion_requests SET job_id = (SELECT id FROM job)
  WHERE tenant_id = :tenant_id AND id = ANY(CAST(:request_ids AS uuid[])) RETURNING id
), history AS (
  INSERT INTO events (tenant_id, subject_id, type, data)
  SELECT :tenant_id, placed.id, 'request.queued', jsonb_build_object('job', job.id) FROM placed, job
)
SELECT id FROM job
""")


async def join_or_open(
    session: AsyncSession,
    *,
    tenant_id: uuid.UUID,
    model_id: uuid.UUID,
    method: str,
    due_at: datetime | None,
    request_ids: Sequence[uuid.UUID],
    http_request_id: str,
) -> uuid.UUID:
    """The id of the job in which the requests (rows of status queued) now have their place."""
    placed = await session.execute(
        _JOIN_OR_OPEN,
        {
            "job_id": time_ordered_id(),
            "tenant_id": tenant_id,
            "model_id": model_id,
            "method": method,
            "due_at": due_at,
            "request_ids": list(request_ids),
            "http_request_id": http_request_id,
        },
    )
    job_id: uuid.UUID = placed.scalar_one()
    return job_id


async def queue_validation(
    session: AsyncSession,
    *,
    tenant_id: uuid.UUID,
    http_request_id: str,
    dataset_id: uuid.UUID | None = None,
    model_id: uuid.UUID | None = None,
) -> uuid.UUID:
    """Queue the job that validates a data set or a model's first version."""
    job_id = time_ordered_id()
    kind = JobKind.VALIDATE_DATASET if dataset_id else JobKind.VALIDATE_MODEL
    await session.execute(
        insert(Job).values(
            id=job_id,
            tenant_id=tenant_id,
            kind=kind,
            dataset_id=dataset_id,
            registered_model_id=model_id,
            http_request_id=http_request_id,
        )
    )
    await session.execute(event(tenant_id, job_id, "job.queued"))
    await session.execute(wake(tenant_id, job_id))
    return job_id
