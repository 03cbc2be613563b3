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
# through the unique index, which lets one of several openers win and the rest join; so does a model whose
# jobs are counted, so that its joiners stand in line. A job waits for the policy's window from when it is
# opened, or not at all for who is due within it.
_JOIN_OR_OPEN = text("""
WITH policy AS (
  SELECT coalesce(CAST(policy ->> 'max_requests' AS bigint), 0) AS most,
    make_interval(secs => coalesce(CAST(policy ->> 'window' AS float8), 0)) AS waits
  FROM registered_models WHERE id = :model_id
), joined AS (
  SELECT id FROM jobs
  WHERE registered_model_id = :model_id AND method = :method AND accepts_requests
    AND (CAST(:due_at AS timestamptz) IS NULL OR due_at <= CAST(:due_at AS timestamptz))
    AND (SELECT most FROM policy) = 0
  FOR SHARE
), opened AS (
  INSERT INTO jobs (id, tenant_id, kind, registered_model_id, method, accepts_requests, due_at, not_before,
    http_request_id)
  SELECT :job_id, :tenant_id, 'unlearn', :model_id, :method, true, CAST(:due_at AS timestamptz),
    CASE WHEN CAST(:due_at AS timestamptz) <= now() + policy.waits THEN now() ELSE now() + policy.waits END,
    :http_request_id
  FROM policy WHERE NOT EXISTS (SELECT FROM joined)
  ON CONFLICT (registered_model_id, method) WHERE accepts_requests
  DO UPDATE SET due_at = LEAST(jobs.due_at, excluded.due_at), revision = jobs.revision + 1,
    not_before = LEAST(jobs.not_before, excluded.not_before)
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
SELECT job.id, policy.most FROM job, policy
""")
# In a statement of its own, which sees what joined while this one waited for the job's row.
_CLOSE_WHEN_FULL = text("""
WITH closed AS (
  UPDATE jobs SET accepts_requests = false, not_before = LEAST(not_before, now()), revision = revision + 1
  WHERE id = :job_id AND status = 'queued' AND accepts_requests
    AND (SELECT count(*) FROM deletion_requests WHERE job_id = :job_id AND status = 'queued') >= :most
  RETURNING id, tenant_id
)
INSERT INTO outbox (tenant_id, topic, job_id) SELECT tenant_id, 'wake', id FROM closed
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
    """The id of the job in which the requests (of status queued) now have their place. Those that
    come together stay together, though they be more than the policy's `max_requests`."""
    found = await session.execute(
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
    placed = found.one()
    if placed.most:
        await session.execute(_CLOSE_WHEN_FULL, {"job_id": placed.id, "most": placed.most})
    job_id: uuid.UUID = placed.id
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
