"""Lookups over HTTP."""

from fastapi import APIRouter, Request

from app.auth.caller import AuditRead
from app.core.openapi import errors
from app.core.session import Session
from app.lookups import service
from app.lookups.schemas import Lookup, NewLookup

router = APIRouter(prefix="/v1/lookups", tags=["Audit"])


@router.post("", responses=errors(400, 404, 409, 413, 422))
async def look_up_instances(request: Request, caller: AuditRead, session: Session, sent: NewLookup) -> Lookup:
    """Which models learned from these instances, on whatever snapshot of the data set; what has been
    forgotten, by which request and version.

    Every lookup is recorded in the audit log (how many, not which).
    """
    return await service.look_up(session, caller, request.app.state.settings, sent)
