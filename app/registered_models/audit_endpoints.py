"""What stronger looks at a version have found. They are taken by `python -m worker.audit`, not over HTTP."""

import uuid

from fastapi import APIRouter

from app.auth.caller import ModelsRead
from app.core.errors import NotFound
from app.core.openapi import errors
from app.core.parameters import After, Limit
from app.core.session import Session
from app.core.wire import Page
from app.registered_models import audits, service
from app.registered_models.audit_schemas import AuditReportView, AuditView

router = APIRouter(prefix="/v1/models/{model}/versions/{version}/audits", tags=["Models"])


@router.get("", responses=errors(404, 422))
async def list_version_audits(
    caller: ModelsRead, session: Session, model: str, version: str, after: After = None, limit: Limit = 20
) -> Page[AuditView]:
    """Stronger looks at a version, newest first: what attacks with reference networks have found in it."""
    found = await service.version(session, caller, model, version)
    rows = await audits.of_version(session, caller.tenant_id, found.id, after, limit + 1)
    return Page(data=[AuditView(**row._mapping) for row in rows[:limit]], has_more=len(rows) > limit)


@router.get("/{audit_id}", responses=errors(404, 422))
async def get_version_audit(
    caller: ModelsRead, session: Session, model: str, version: str, audit_id: uuid.UUID
) -> AuditReportView:
    """One look with its whole report. The digest is the one in the audit log, over canonical JSON."""
    found = await service.version(session, caller, model, version)
    row = await audits.one(session, caller.tenant_id, found.id, audit_id)
    if row is None:
        raise NotFound("There is no such look at this version.", code="version_audit_not_found")
    return AuditReportView(**row._mapping)
