"""Withdrawing a request: at once while it waits, for its turn or for a person's word, before its run or after
it; while its job runs, by asking the worker.

Locks are taken in the order job, requests, as the worker takes them.
"""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry
from app.core.errors import Conflict
from app.core.rows import AnyRow
from app.deletion_requests import service
from app.jobs import changes
from models.states import TERMINAL, RunStatus

_LOCK = text("SELECT id, status, job_id FROM deletion_requests WHERE id = :id FOR UPDATE")
_OTHERS = text(
    "SELECT count(*) FROM deletion_requests WHERE job_id = :job_id AND id <> :id"
    " AND status IN ('queued', 'running', 'needs_review')"
)


async def cancel(session: AsyncSession, caller: Caller, request_id: uuid.UUID) -> None:
    """Raises `NotFound` and `Conflict` (request_finished, request_moved)."""
    row = await service.row_of(session, caller, request_id)
    if row.status in TERMINAL:
        raise Conflict(f"The request has {row.status} already.", code="request_finished")
    if row.registered_model_id is not None:
        await _cancel_one(session, caller, row.id, row.job)
    for child_id in row.children or ():
        child = await service.row_of(session, caller, child_id)
        if child.status not in TERMINAL:
            await _cancel_one(session, caller, child.id, child.job)
    await session.execute(
        audit_entry(caller.tenant_id, caller.actor, "deletion_request.cancel", request_id, caller.request_id)
    )


async def _cancel_one(
    session: AsyncSession, caller: Caller, request_id: uuid.UUID, job_id: uuid.UUID | None
) -> None:
    job = await changes.lock(session, caller.tenant_id, job_id) if job_id else None
    request = (await session.execute(_LOCK, {"id": request_id})).one()
    if request.status == RunStatus.AWAITING_APPROVAL:  # it has no job yet
        await changes.move_requests(session, [request_id], RunStatus.CANCELLED)
        return
    if request.job_id != job_id or job is None:
        raise Conflict("The request was moved to another job just now; try again.", code="request_moved")
    others = (await session.execute(_OTHERS, {"job_id": job_id, "id": request_id})).scalar_one()
    match request.status:
        case RunStatus.QUEUED:
            await changes.move_requests(session, [request_id], RunStatus.CANCELLED)
            if not others:
                await changes.end(session, caller, job, RunStatus.CANCELLED)
        case RunStatus.RUNNING:
            await changes.move_requests(session, [request_id], RunStatus.CANCELLING)
            if not others and job.status == RunStatus.RUNNING:
                await changes.ask_to_cancel(session, caller, job)
        case RunStatus.NEEDS_REVIEW:
            await _cancel_under_review(session, caller, request_id, job, others)
        case RunStatus.CANCELLING:
            return
        case _:
            raise Conflict(f"The request has {request.status} already.", code="request_finished")


async def _cancel_under_review(
    session: AsyncSession, caller: Caller, request_id: uuid.UUID, job: AnyRow, others: int
) -> None:
    """The candidate has forgotten this request's instances with the others': it is dropped, and the others
    are carried out without it."""
    await changes.move_requests(session, [request_id], RunStatus.CANCELLED)
    if others:
        await changes.begin_anew(session, caller, job)
    else:
        await changes.end(session, caller, job, RunStatus.CANCELLED)
