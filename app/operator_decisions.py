"""The operator's word on a request that waits for an approval, where a tenant has no second administrator.

The session is one of the API's role, which sees one tenant at a time. The caller commits.
"""

import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.core.sight import Sight, give_sight
from app.deletion_requests import approval
from app.deletion_requests.approval import Decider
from app.operator_keys import OPERATOR, Refused

_TENANTS = text("SELECT id FROM names_of_tenants()")
_HAS = text("SELECT EXISTS (SELECT FROM deletion_requests WHERE tenant_id = :tenant AND id = :id)")


def approve_request(session: Session, request_id: uuid.UUID, reason: str) -> None:
    """Raises `Refused`, and what `app.deletion_requests.approval` raises."""
    approval.approve(session, _operator(session, request_id), request_id, _given(reason))


def reject_request(session: Session, request_id: uuid.UUID, reason: str) -> None:
    """As `approve_request`."""
    approval.reject(session, _operator(session, request_id), request_id, _given(reason))


def _operator(session: Session, request_id: uuid.UUID) -> Decider:
    """From here on the session sees the tenant whose request it is."""
    for tenant_id in session.scalars(_TENANTS).all():
        give_sight(session, Sight(tenant_id))
        if session.scalar(_HAS, {"tenant": tenant_id, "id": request_id}):
            return Decider(tenant_id, OPERATOR, key_id=None)
    raise Refused(f"There is no deletion request {request_id}.")


def _given(reason: str) -> str:
    if not reason.strip():
        raise Refused("Give a reason: it is kept with the request and in the audit log.")
    return reason
