"""The audit log over HTTP: to read, to keep, to check elsewhere."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from app.audit import repository
from app.audit.export import MEDIA_TYPE, no_checkpoint, sealed_entry, streamed
from app.audit.schemas import AuditPage
from app.auth.caller import AuditRead
from app.core.audit import audit_entry
from app.core.envelope import SignedEnvelope
from app.core.openapi import errors
from app.core.session import Session
from app.core.sight import SeeingSessions

router = APIRouter(prefix="/v1/audit", tags=["Audit"])

_EXPORT: dict[int | str, dict[str, Any]] = {
    200: {"description": "JSON Lines for `lethe verify-audit`", "content": {MEDIA_TYPE: {}}}
}


@router.get("", response_model=AuditPage, responses=errors(422))
async def list_audit_entries(
    caller: AuditRead,
    session: Session,
    after: Annotated[int, Query(ge=0, lt=1 << 62, description="Continue after this position")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many entries at most")] = 100,
) -> dict[str, Any]:
    """Who did what, in the order of the hash chain. Rows appear here once the relay has chained them,
    seconds after they were written."""
    rows = (await session.execute(repository.sealed(caller.tenant_id, after, limit + 1))).all()
    return {"data": [sealed_entry(row) for row in rows[:limit]], "has_more": len(rows) > limit}


@router.get("/checkpoint", response_model=SignedEnvelope, responses=errors(404))
async def get_audit_checkpoint(caller: AuditRead, session: Session) -> Response:
    """The newest signature under the chain. Keep it elsewhere: whoever has one will notice when entries
    that it covers are removed, even from the end."""
    found = (await session.execute(repository.newest_checkpoint(caller.tenant_id))).one_or_none()
    if found is None:
        raise no_checkpoint()
    return Response(found.envelope, media_type="application/json")


@router.get("/export", response_class=StreamingResponse, responses=_EXPORT | errors(404))
async def export_audit_log(request: Request, caller: AuditRead, session: Session) -> StreamingResponse:
    """All that is signed of the log, as a file that `lethe verify-audit` checks offline."""
    found = (await session.execute(repository.newest_checkpoint(caller.tenant_id))).one_or_none()
    if found is None:
        raise no_checkpoint()
    await session.execute(
        audit_entry(
            caller.tenant_id, caller.actor, "audit.export", None, caller.request_id, entries=found.position
        )
    )
    headers = {"Content-Disposition": 'attachment; filename="audit-log.jsonl"'}
    pieces = streamed(SeeingSessions(request.app.state.sessions, caller.sight), found)
    return StreamingResponse(pieces, headers=headers, media_type=MEDIA_TYPE)
