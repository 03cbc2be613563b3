"""What the API changes of jobs and of their requests. Callers hold the job's row lock: `lock` comes first."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry, event
from app.core.outbox import wake, wake_next_of_model
from app.core.rows import AnyRow
from models.states import JOB, RunStatus, refuse_illegal

_LOCK = text(
    "SELECT id, kind, status, registered_model_id, dataset_id, tenant_id FROM jobs"
    " WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE"
)
_END = text(
    "UPDATE jobs SET status = :status, accepts_requests = false, finished_at = now(), phase = NULL,"
    " revision = revision + 1 WHERE id = :id"
)
_ASK_TO_CANCEL = text(
    "UPDATE jobs SET status = 'cancelling', cancel_requested_at = now(), revision = revision + 1"
    " WHERE id = :id"
)
_BEGIN_ANEW = text("""
UPDATE jobs SET status = 'queued', not_before = now(), candidate_artifact_id = NULL,
  snapshot_artifact_id = NULL, report = NULL, rungs = '[]', error_code = NULL, error_detail = NULL,
  revision = revision + 1
WHERE id = :id
""")
_MOVE_REQUESTS = text("""
WITH moved AS (
  UPDATE deletion_requests
  SET status = :status, revision = revision + 1,
    finished_at = CASE WHEN :status = 'cancelled' THEN now() END,
    journaled_at = CASE WHEN :status <> 'cancelled' THEN journaled_at END,
    cancel_requested_at = CASE WHEN :status IN ('cancelled', 'cancelling') THEN now() END
  WHERE id = ANY(CAST(:ids AS uuid[])) AND status <> :status
  RETURNING id, tenant_id, job_id
)
INSERT INTO events (tenant_id, subject_id, type, data)
SELECT tenant_id, id, 'request.' || :status, jsonb_build_object('job', job_id) FROM moved ORDER BY id
""")
_REQUESTS = text(
    "SELECT id FROM deletion_requests WHERE job_id = :id AND status = ANY(CAST(:statuses AS text[]))"
    " ORDER BY id FOR UPDATE"
)


async def lock(session: AsyncSession, tenant_id: uuid.UUID, job_id: uuid.UUID) -> AnyRow | None:
    """The job, held until the commit against workers and against requests that would join it."""
    return (await session.execute(_LOCK, {"tenant_id": tenant_id, "id": job_id})).one_or_none()


async def requests_in(session: AsyncSession, job: AnyRow, *statuses: RunStatus) -> list[uuid.UUID]:
    bound = {"id": job.id, "statuses": [str(status) for status in statuses]}
    return list((await session.execute(_REQUESTS, bound)).scalars())


async def move_requests(session: AsyncSession, ids: Sequence[uuid.UUID], status: RunStatus) -> None:
    """Move requests on, with their history."""
    if ids:
        await session.execute(_MOVE_REQUESTS, {"ids": list(ids), "status": str(status)})


async def ask_to_cancel(session: AsyncSession, caller: Caller, job: AnyRow) -> None:
    """The worker's next heartbeat brings the order in."""
    refuse_illegal(JOB, RunStatus(job.status), RunStatus.CANCELLING)
    await session.execute(_ASK_TO_CANCEL, {"id": job.id})
    await note(session, caller, job, "cancelling")


async def begin_anew(session: AsyncSession, caller: Caller, job: AnyRow) -> None:
    """A job under review forgets what was made, which is of no use any more, and is queued again."""
    refuse_illegal(JOB, RunStatus(job.status), RunStatus.QUEUED)
    waiting = await requests_in(session, job, RunStatus.NEEDS_REVIEW)
    await move_requests(session, waiting, RunStatus.QUEUED)
    await session.execute(_BEGIN_ANEW, {"id": job.id})
    await note(session, caller, job, "queued", reason="restart")
    await session.execute(wake(job.tenant_id, job.id))


async def end(session: AsyncSession, caller: Caller, job: AnyRow, status: RunStatus) -> None:
    """A job that no worker holds is over; the next of its model may run."""
    refuse_illegal(JOB, RunStatus(job.status), status)
    await session.execute(_END, {"id": job.id, "status": str(status)})
    await note(session, caller, job, str(status))
    if job.registered_model_id is not None:
        await session.execute(wake_next_of_model(job.registered_model_id))


async def note(session: AsyncSession, caller: Caller, job: AnyRow, what: str, **data: Any) -> None:
    """In the history and in the audit log."""
    await session.execute(event(job.tenant_id, job.id, f"job.{what}", by=caller.actor, **data))
    await session.execute(
        audit_entry(job.tenant_id, caller.actor, f"job.{what}", job.id, caller.request_id, **data)
    )
