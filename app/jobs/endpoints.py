"""Jobs over HTTP."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.auth.caller import RequestsRead, RequestsWrite
from app.core import event_stream
from app.core.event_stream import EventList
from app.core.openapi import errors
from app.core.parameters import After, Limit
from app.core.session import Session
from app.core.wire import Page
from app.jobs import repository, service
from app.jobs.schemas import Decision, JobStatus, JobView
from app.registered_models import service as registered_models

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])


@router.get("", responses=errors(404, 422))
async def list_jobs(
    caller: RequestsRead,
    session: Session,
    model: Annotated[str | None, Query(description="Name or id")] = None,
    status: JobStatus | None = None,
    after: After = None,
    limit: Limit = 20,
) -> Page[JobView]:
    """The tenant's jobs, newest first."""
    model_id = await registered_models.find_id(session, caller, model) if model is not None else None
    rows = await repository.page(
        session,
        caller.tenant_id,
        model_id=model_id,
        status=status,
        after=after,
        limit=limit + 1,
        limited_to=caller.models,
    )
    return Page(data=[service.view(row) for row in rows[:limit]], has_more=len(rows) > limit)


@router.get("/{job_id}", responses=errors(404, 422))
async def get_job(caller: RequestsRead, session: Session, job_id: uuid.UUID) -> JobView:
    """Phase, progress, attempts, device, figures."""
    return await service.one(session, caller, job_id)


@router.get(
    "/{job_id}/events",
    response_model=EventList,
    responses=event_stream.FOLLOWED | errors(400, 404, 422),
    openapi_extra=event_stream.RESUMED,
)
async def follow_job(request: Request, caller: RequestsRead, session: Session, job_id: uuid.UUID) -> Response:
    """The history as JSON, or, when `text/event-stream` is accepted, as it happens, with progress."""
    after = event_stream.last_event_id(request)
    subject = await service.subject(session, caller, job_id, after)
    return await event_stream.answer(request, session, subject)


@router.post("/{job_id}/cancel", responses=errors(404, 409, 422))
async def cancel_job(caller: RequestsWrite, session: Session, job_id: uuid.UUID) -> JobView:
    """Cancel a job with all its requests: at once while it waits, else as soon as the worker hears of it."""
    await service.cancel(session, caller, job_id)
    return await service.one(session, caller, job_id)


@router.post("/{job_id}/approve", responses=errors(400, 404, 409, 413, 422))
async def approve_job(
    caller: RequestsWrite, session: Session, job_id: uuid.UUID, decision: Decision
) -> JobView:
    """Publish a candidate that missed a gate. Who decided, and why, is in the certificates."""
    await service.approve(session, caller, job_id, decision.reason)
    return await service.one(session, caller, job_id)


@router.post("/{job_id}/reject", responses=errors(400, 404, 409, 413, 422))
async def reject_job(
    caller: RequestsWrite, session: Session, job_id: uuid.UUID, decision: Decision
) -> JobView:
    """Drop a candidate that missed a gate: the job and its requests fail with `candidate_rejected`, and the
    version stays head. Retrying the job has the requests done again."""
    await service.reject(session, caller, job_id, decision.reason)
    return await service.one(session, caller, job_id)


@router.post("/{job_id}/retry", status_code=202, responses=errors(404, 409, 422))
async def retry_job(
    request: Request, caller: RequestsWrite, session: Session, job_id: uuid.UUID, response: Response
) -> JobView:
    """Try a failed job's work again; the answer is the job in which it goes on."""
    again = await service.retry(session, caller, request.app.state.settings, job_id)
    response.headers["Location"] = f"/v1/jobs/{again}"
    return await service.one(session, caller, again)
