"""Deciding on jobs: cancel, approve, reject, retry."""

import json
import uuid
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import event
from app.core.bundling import reopened
from app.core.errors import Conflict, NotFound
from app.core.event_stream import Look, Subject
from app.core.outbox import wake
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.core.wire import rfc3339
from app.deletion_requests.recorded import reasons_for
from app.jobs import changes, repository
from app.jobs.opening import join_or_open, queue_validation
from app.jobs.schemas import JobView
from models import JobKind
from models.states import RunStatus

_LOOK = text(
    "SELECT status IN ('succeeded', 'failed', 'cancelled') AS finished,"
    " CASE WHEN status = 'running' THEN jsonb_build_object('phase', phase) || progress END AS progress"
    " FROM jobs WHERE tenant_id = :tenant_id AND id = :id"
)
_APPROVE = text(
    "UPDATE jobs SET status = 'queued', approved_at = now(), approved_by = :key_id, not_before = now(),"
    " decision = CAST(:decision AS jsonb), revision = revision + 1 WHERE id = :id"
)
_REQUEUE = text(
    "UPDATE deletion_requests SET status = 'queued', finished_at = NULL, error_code = NULL,"
    " error_detail = NULL, cancel_requested_at = NULL, revision = revision + 1"
    " WHERE job_id = :id AND status = 'failed' RETURNING id, registered_model_id, method, due_at"
)
_UNAPPROVED = text(
    "SELECT id, tasks FROM deletion_requests WHERE job_id = :id AND status = 'failed'"
    " AND approved_at IS NULL ORDER BY id FOR UPDATE"
)
_REJECT = text(
    "UPDATE jobs SET error_code = 'candidate_rejected', error_detail = :detail,"
    " decision = CAST(:decision AS jsonb) WHERE id = :id"
)
_REJECT_REQUESTS = text(
    "UPDATE deletion_requests SET error_code = 'candidate_rejected', error_detail = :detail,"
    " finished_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))"
)
_VALIDATE_DATASET_AGAIN = text(
    "UPDATE datasets SET status = 'validating', error_code = NULL, error_detail = NULL"
    " WHERE tenant_id = :tenant_id AND id = :id AND status = 'rejected'"
)
_VALIDATE_MODEL_AGAIN = text(
    "UPDATE registered_models SET status = 'validating', error_code = NULL, error_detail = NULL"
    " WHERE tenant_id = :tenant_id AND id = :id AND status = 'rejected'"
)
_EXPECT_VERSION_AGAIN = text("""
WITH moved AS (
  UPDATE model_versions SET state = 'pending' WHERE tenant_id = :tenant_id
    AND registered_model_id = :id AND number = 1 AND state = 'rejected'
  RETURNING id, tenant_id
)
INSERT INTO events (tenant_id, subject_id, type) SELECT tenant_id, id, 'version.pending' FROM moved
""")
_REJECT_DATASET = text(
    "UPDATE datasets SET status = 'rejected', error_code = 'cancelled', error_detail = :detail"
    " WHERE id = :id AND status = 'validating'"
)
_REJECT_MODEL = text(
    "UPDATE registered_models SET status = 'rejected', error_code = 'cancelled', error_detail = :detail"
    " WHERE id = :id AND status = 'validating'"
)
_REJECT_VERSION = text("""
WITH moved AS (
  UPDATE model_versions SET state = 'rejected' WHERE registered_model_id = :id AND number = 1
    AND state = 'pending'
  RETURNING id, tenant_id
)
INSERT INTO events (tenant_id, subject_id, type) SELECT tenant_id, id, 'version.rejected' FROM moved
""")
_CANCELLED = "The validation was cancelled; register it again."


async def one(session: AsyncSession, caller: Caller, job_id: uuid.UUID) -> JobView:
    """Raises `NotFound`."""
    row = await repository.find(session, caller.tenant_id, job_id)
    if row is None:
        raise _not_found()
    return view(row)


def view(row: AnyRow) -> JobView:
    return JobView(**row._mapping)


async def cancel(session: AsyncSession, caller: Caller, job_id: uuid.UUID) -> None:
    """At once while it waits; while it runs, by asking the worker. Raises `Conflict` (job_finished)."""
    job = await _locked(session, caller, job_id)
    match job.status:
        case RunStatus.QUEUED | RunStatus.NEEDS_REVIEW:
            await _end_cancelled(session, caller, job)
        case RunStatus.RUNNING:
            running = await changes.requests_in(session, job, RunStatus.RUNNING)
            await changes.move_requests(session, running, RunStatus.CANCELLING)
            await changes.ask_to_cancel(session, caller, job)
        case RunStatus.CANCELLING:
            return
        case _:
            raise Conflict(f"The job has {job.status} already.", code="job_finished")


async def approve(session: AsyncSession, caller: Caller, job_id: uuid.UUID, reason: str) -> None:
    """Have the candidate published although it missed a gate. Raises `Conflict` (job_not_in_review)."""
    job = await _in_review(session, caller, job_id)
    bound = {"id": job.id, "key_id": caller.key_id, "decision": _decision(caller, "approved", reason)}
    await session.execute(_APPROVE, bound)
    waiting = await changes.requests_in(session, job, RunStatus.NEEDS_REVIEW)
    await changes.move_requests(session, waiting, RunStatus.QUEUED)
    await changes.note(session, caller, job, "approved", reason=reason)
    await session.execute(event(caller.tenant_id, job.id, "job.queued", reason="approved"))
    await session.execute(wake(caller.tenant_id, job.id))


async def reject(session: AsyncSession, caller: Caller, job_id: uuid.UUID, reason: str) -> None:
    """Drop the candidate: job and requests fail; they may be retried. Raises `Conflict`
    (job_not_in_review)."""
    job = await _in_review(session, caller, job_id)
    await changes.note(session, caller, job, "rejected", reason=reason)
    detail = (
        "The candidate missed a gate and a person rejected it; the version before stays in use, and still "
        "remembers. Retry the job to have the requests carried out again."
    )
    waiting = await changes.requests_in(session, job, RunStatus.NEEDS_REVIEW)
    await changes.move_requests(session, waiting, RunStatus.FAILED)
    await session.execute(_REJECT_REQUESTS, {"ids": waiting, "detail": detail})
    decision = _decision(caller, "rejected", reason)
    await session.execute(_REJECT, {"id": job.id, "detail": detail, "decision": decision})
    await changes.end(session, caller, job, RunStatus.FAILED)


async def retry(session: AsyncSession, caller: Caller, settings: Settings, job_id: uuid.UUID) -> uuid.UUID:
    """The job in which a failed one's work goes on. Raises `Conflict` (job_not_failed, nothing_to_retry,
    approval_needed)."""
    job = await _locked(session, caller, job_id)
    if job.status != RunStatus.FAILED:
        raise Conflict(f"The job is {job.status}; only a failed one can be retried.", code="job_not_failed")
    if job.kind != JobKind.UNLEARN:
        again = await _validate_again(session, caller, job)
    else:
        await _refuse_too_much(session, settings, job)
        again = await _requeue_requests(session, caller, job)
    await changes.note(session, caller, job, "retried", into=str(again))
    return again


async def subject(session: AsyncSession, caller: Caller, job_id: uuid.UUID, after: int) -> Subject:
    """Raises `NotFound`."""
    if await repository.find(session, caller.tenant_id, job_id) is None:
        raise _not_found()

    async def look(session: AsyncSession) -> Look:
        seen = (await session.execute(_LOOK, {"tenant_id": caller.tenant_id, "id": job_id})).one()
        return Look(seen.finished, seen.progress)

    return Subject(caller.sight, [job_id], look, after)


def _decision(caller: Caller, decision: str, reason: str) -> str:
    """As the job and the certificates show it."""
    at = rfc3339(datetime.now(UTC))
    return json.dumps({"decision": decision, "by": caller.actor, "reason": reason, "at": at})


async def _end_cancelled(session: AsyncSession, caller: Caller, job: AnyRow) -> None:
    waiting = await changes.requests_in(session, job, RunStatus.QUEUED, RunStatus.NEEDS_REVIEW)
    await changes.move_requests(session, waiting, RunStatus.CANCELLED)
    await changes.end(session, caller, job, RunStatus.CANCELLED)
    if job.kind == JobKind.VALIDATE_DATASET:
        await session.execute(_REJECT_DATASET, {"id": job.dataset_id, "detail": _CANCELLED})
    if job.kind == JobKind.VALIDATE_MODEL:
        await session.execute(_REJECT_MODEL, {"id": job.registered_model_id, "detail": _CANCELLED})
        await session.execute(_REJECT_VERSION, {"id": job.registered_model_id})


async def _requeue_requests(session: AsyncSession, caller: Caller, job: AnyRow) -> uuid.UUID:
    rows = (await session.execute(_REQUEUE, {"id": job.id})).all()
    if not rows:
        raise Conflict("None of the job's requests has failed with it.", code="nothing_to_retry")
    await session.execute(reopened([row.id for row in rows]))
    due: list[datetime] = [row.due_at for row in rows if row.due_at is not None]
    return await join_or_open(
        session,
        tenant_id=caller.tenant_id,
        model_id=rows[0].registered_model_id,
        method=rows[0].method,
        due_at=min(due, default=None),
        request_ids=[row.id for row in rows],
        http_request_id=caller.request_id,
    )


async def _refuse_too_much(session: AsyncSession, settings: Settings, job: AnyRow) -> None:
    """Since these requests failed, others may have taken what could go without a person's word."""
    failed = (await session.execute(_UNAPPROVED, {"id": job.id})).all()
    if not failed:
        return
    reasons = await session.run_sync(reasons_for, settings, job.registered_model_id, failed)
    if reasons:
        raise Conflict(
            "Together, the job's requests now take more than may go without a person's approval. Retry them "
            "one by one (POST /v1/deletion-requests/{id}/retry): those that take too much then wait for it.",
            code="approval_needed",
            requests=[str(each.id) for each in failed],
        )


async def _validate_again(session: AsyncSession, caller: Caller, job: AnyRow) -> uuid.UUID:
    """Only of what is still rejected: it may have been registered anew since."""
    subject_id = job.dataset_id or job.registered_model_id
    bound = {"tenant_id": caller.tenant_id, "id": subject_id}
    statement = _VALIDATE_DATASET_AGAIN if job.dataset_id else _VALIDATE_MODEL_AGAIN
    if (await session.execute(statement, bound)).rowcount == 0:  # type: ignore[attr-defined]
        raise Conflict("It has been registered again since.", code="nothing_to_retry")
    if job.registered_model_id:
        await session.execute(_EXPECT_VERSION_AGAIN, bound)
    return await queue_validation(
        session,
        tenant_id=caller.tenant_id,
        http_request_id=caller.request_id,
        dataset_id=job.dataset_id,
        model_id=job.registered_model_id,
    )


async def _in_review(session: AsyncSession, caller: Caller, job_id: uuid.UUID) -> AnyRow:
    job = await _locked(session, caller, job_id)
    if job.status != RunStatus.NEEDS_REVIEW:
        raise Conflict(
            f"The job's status is {job.status}, not needs_review: there is no candidate to decide on.",
            code="job_not_in_review",
        )
    return job


async def _locked(session: AsyncSession, caller: Caller, job_id: uuid.UUID) -> AnyRow:
    job = await changes.lock(session, caller.tenant_id, job_id)
    if job is None:
        raise _not_found()
    return job


def _not_found() -> NotFound:
    return NotFound("There is no such job.", code="job_not_found")
