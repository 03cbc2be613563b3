"""Deletion requests over HTTP."""

import json
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from app.auth.caller import Admin, RequestsRead, RequestsWrite
from app.core import event_stream
from app.core.event_stream import EventList
from app.core.openapi import errors
from app.core.parameters import After, Limit
from app.core.ranges import none_match_says_unchanged
from app.core.session import Session
from app.core.wire import Page
from app.deletion_requests import (
    acceptance,
    approval,
    cancellation,
    estimating,
    extension,
    idempotency,
    repository,
    retrying,
    service,
)
from app.deletion_requests.idempotency import Kept
from app.deletion_requests.schemas import (
    ApprovalDecision,
    DeletionRequestView,
    Estimate,
    NewDeletionRequest,
    NewExtension,
    Status,
)
from app.registered_models import service as registered_models

router = APIRouter(prefix="/v1/deletion-requests", tags=["Deletion requests"])

_JSON = "application/json"
_RETRY_AFTER = str(service.RETRY_AFTER_SECONDS)


@router.post(
    "",
    status_code=202,
    response_model=DeletionRequestView,
    responses=errors(400, 404, 409, 410, 413, 422)
    | {
        200: {
            "model": DeletionRequestView | Estimate,
            "description": "Everything was forgotten already; or the estimate that dry_run asked for",
        }
    },
)
async def create_deletion_request(
    request: Request,
    caller: RequestsWrite,
    session: Session,
    sent: NewDeletionRequest,
    dry_run: Annotated[bool, Query(description="Check and estimate only; write nothing")] = False,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="The same key with the same body is carried out once",
            json_schema_extra=idempotency.KEY_SCHEMA,
        ),
    ] = None,
) -> Response:
    """Ask for supervision to be forgotten: the labels of these instances for these tasks.

    Requests for the same model and method that wait together become one job and one new version.
    """
    settings = request.app.state.settings
    key = idempotency.read_key(idempotency_key)
    if dry_run:
        key = None
    if key is not None:
        body = await request.body()
        whose = " ".join([request.url.path, *map(str, caller.models or ())])  # never another limit's answer
        digest = idempotency.request_digest(settings, request.method, whose, body)
        kept = await idempotency.claim(session, caller.tenant_id, key, digest, settings)
        if kept is not None:
            return _answer(kept, json.dumps(kept.body).encode(), {"Idempotent-Replayed": "true"})
    checked = await acceptance.check(session, caller, settings, sent)
    if dry_run:
        estimate = await estimating.estimate(session, checked)
        return Response(estimate.model_dump_json(), 200, media_type=_JSON)
    view = await acceptance.accept(session, caller, checked)
    content = view.__pydantic_serializer__.to_json(view)
    status = 200 if view.status == "succeeded" else 202
    made = Kept(status, f"/v1/deletion-requests/{view.id}", {})
    if key is not None:
        made = Kept(status, made.location, json.loads(content))
        await idempotency.keep(session, caller.tenant_id, key, made)
    return _answer(made, content, {})


def _answer(kept: Kept, content: bytes, headers: dict[str, str]) -> Response:
    if kept.location is not None:
        headers["Location"] = kept.location
    if kept.status == 202:
        headers["Retry-After"] = _RETRY_AFTER
    return Response(content, kept.status, headers, _JSON)


@router.get("", responses=errors(404, 422))
async def list_deletion_requests(
    caller: RequestsRead,
    session: Session,
    model: Annotated[str | None, Query(description="Name or id")] = None,
    status: Status | None = None,
    reference: Annotated[str | None, Query(max_length=256, pattern=r"^[^\x00]*$")] = None,
    after: After = None,
    limit: Limit = 20,
) -> Page[DeletionRequestView]:
    """The tenant's requests, newest first. Those that belong to a request on a data set are shown when
    a model is asked for."""
    model_id = await registered_models.find_id(session, caller, model) if model is not None else None
    rows = await repository.page(
        session,
        caller.tenant_id,
        model_id=model_id,
        status=status,
        reference=reference,
        after=after,
        limit=limit + 1,
        limited_to=caller.models,
    )
    return Page(data=[service.view(row) for row in rows[:limit]], has_more=len(rows) > limit)


_UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The request is as If-None-Match knows it"}
}


@router.get("/{request_id}", response_model=DeletionRequestView, responses=_UNCHANGED | errors(404, 422))
async def get_deletion_request(
    caller: RequestsRead,
    session: Session,
    request_id: uuid.UUID,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Status, transitions with times, due date, job, resulting version. Poll with If-None-Match."""
    row = await service.row_of(session, caller, request_id)
    headers = {"ETag": service.etag(row), "Cache-Control": "private, no-cache"}
    if not service.is_finished(row):
        headers["Retry-After"] = _RETRY_AFTER
    if none_match_says_unchanged(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    view = service.view(row)
    view.descendants = await service.descendants(session, caller, row)
    return Response(view.__pydantic_serializer__.to_json(view), 200, headers, _JSON)


@router.post("/{request_id}/cancel", responses=errors(404, 409, 422))
async def cancel_deletion_request(
    caller: RequestsWrite, session: Session, request_id: uuid.UUID
) -> DeletionRequestView:
    """Withdraw a request: at once while it waits; while its job runs, as soon as the worker hears of it."""
    await cancellation.cancel(session, caller, request_id)
    return service.view(await service.row_of(session, caller, request_id))


@router.post("/{request_id}/retry", responses=errors(404, 409, 422))
async def retry_deletion_request(
    request: Request, caller: RequestsWrite, session: Session, request_id: uuid.UUID
) -> DeletionRequestView:
    """Queue a failed request again, alone; of a request on a data set, the children that failed. What takes
    more than may go without a person's word waits for one, as when it was sent."""
    await retrying.retry(session, caller, request.app.state.settings, request_id)
    return service.view(await service.row_of(session, caller, request_id))


@router.post("/{request_id}/approve", responses=errors(400, 404, 409, 410, 413, 422))
async def approve_deletion_request(
    request: Request, caller: Admin, session: Session, request_id: uuid.UUID, sent: ApprovalDecision
) -> DeletionRequestView:
    """Have a request carried out that takes more than may go without a person's word; of a request on a data
    set, every part that waits. Not by the key that asked for it, one that it was rotated with, or, within a
    day, one that made or was made by it (`own_request`, with the time from which on the key may). What is
    asked for from now on is measured by what is left then."""
    decider = approval.Decider.calling(caller, request.app.state.settings)
    await session.run_sync(approval.approve, decider, request_id, sent.reason)
    return service.view(await service.row_of(session, caller, request_id))


@router.post("/{request_id}/reject", responses=errors(400, 404, 409, 413, 422))
async def reject_deletion_request(
    request: Request, caller: Admin, session: Session, request_id: uuid.UUID, sent: ApprovalDecision
) -> DeletionRequestView:
    """Do not have it carried out: it fails with `request_rejected`. Retrying it has it looked at again."""
    decider = approval.Decider.calling(caller, request.app.state.settings)
    await session.run_sync(approval.reject, decider, request_id, sent.reason)
    return service.view(await service.row_of(session, caller, request_id))


@router.post("/{request_id}/acknowledge", responses=errors(404, 422))
async def acknowledge_deletion_request(
    caller: RequestsWrite, session: Session, request_id: uuid.UUID
) -> DeletionRequestView:
    """Record that the person was told of the receipt of their request; the first time counts."""
    await extension.acknowledge(session, caller, request_id)
    return service.view(await service.row_of(session, caller, request_id))


@router.post("/{request_id}/extend", responses=errors(400, 404, 409, 413, 422))
async def extend_deletion_request(
    request: Request, caller: RequestsWrite, session: Session, request_id: uuid.UUID, sent: NewExtension
) -> DeletionRequestView:
    """Put off the due date as far as the regulation allows, once, and record the notice that the person was
    given: when, and for what reason."""
    await extension.extend(session, caller, request.app.state.settings, request_id, sent)
    return service.view(await service.row_of(session, caller, request_id))


@router.get(
    "/{request_id}/events",
    response_model=EventList,
    responses=event_stream.FOLLOWED | errors(400, 404, 422),
    openapi_extra=event_stream.RESUMED,
)
async def follow_deletion_request(
    request: Request, caller: RequestsRead, session: Session, request_id: uuid.UUID
) -> Response:
    """The history as JSON, or, when `text/event-stream` is accepted, as it happens.

    The stream ends after the last event, and resumes after Last-Event-ID.
    """
    row = await service.row_of(session, caller, request_id)
    subject = service.subject(caller, row, event_stream.last_event_id(request))
    return await event_stream.answer(request, session, subject)
