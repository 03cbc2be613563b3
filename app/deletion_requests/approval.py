"""A person's word on requests that would take more than may go without one."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.auth.caller import Caller
from app.auth.same_hand import same_hand
from app.core.audit import audit_entry
from app.core.errors import Conflict, Forbidden, Gone
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.core.wire import rfc3339
from app.deletion_requests import service
from models.states import ModelStatus

REJECTED = "request_rejected"
EXPIRED = "approval_expired"

_WAITING = text("""
SELECT r.id, r.api_key_id, m.status AS model_status FROM deletion_requests r
JOIN registered_models m ON m.id = r.registered_model_id
WHERE r.tenant_id = :tenant_id AND r.id = ANY(CAST(:ids AS uuid[])) AND r.status = 'awaiting_approval'
ORDER BY r.id FOR UPDATE OF r
""")
# Without a job: the relay gives it a place in its model's open one. The journal is to know that it may go.
_APPROVE = text("""
WITH moved AS (
  UPDATE deletion_requests SET status = 'queued', approved_at = now(), journaled_at = NULL,
    approval = approval || CAST(:decision AS jsonb), revision = revision + 1
  WHERE id = ANY(CAST(:ids AS uuid[])) RETURNING id, tenant_id
)
INSERT INTO events (tenant_id, subject_id, type, data)
SELECT tenant_id, id, 'approval.granted', CAST(:decision AS jsonb) FROM moved ORDER BY id
""")
_REJECT = text("""
WITH moved AS (
  UPDATE deletion_requests SET status = 'failed', error_code = :code, error_detail = :detail,
    finished_at = now(), approval = approval || CAST(:decision AS jsonb), revision = revision + 1
  WHERE id = ANY(CAST(:ids AS uuid[])) RETURNING id, tenant_id
)
INSERT INTO events (tenant_id, subject_id, type, data)
SELECT tenant_id, id, type, data FROM moved, (VALUES
  (1, 'approval.refused', CAST(:decision AS jsonb)),
  (2, 'request.failed', jsonb_build_object('code', CAST(:code AS text)))
) AS told (place, type, data) ORDER BY id, place
""")
# A request on a data set has no status of its own, and keeps the word that was given on all of it.
_NOTE_ON_PARENT = text("""
UPDATE deletion_requests SET approved_at = CASE WHEN :approved THEN now() END,
  approval = coalesce(approval, '{"reasons": []}') || CAST(:decision AS jsonb), revision = revision + 1
WHERE id = :id
""")
_DETAIL = (
    "A person did not approve of it: nothing was forgotten. Retry it to have it looked at again, or ask for "
    "less."
)


@dataclass(frozen=True, slots=True)
class Decider:
    """Whose word it is. `key_id`: None is the operator, who asks for nothing himself. `new_hours`: for so
    long a key is one hand with the key that made it. `http_request_id`: for the audit log."""

    tenant_id: uuid.UUID
    actor: str
    key_id: uuid.UUID | None
    new_hours: float = 0
    http_request_id: str | None = None

    @classmethod
    def calling(cls, caller: Caller, settings: Settings) -> "Decider":
        return cls(
            caller.tenant_id, caller.actor, caller.key_id, settings.approval_key_hours, caller.request_id
        )


def approve(session: Session, decider: Decider, request_id: uuid.UUID, reason: str) -> None:
    """Have it carried out; of a request on a data set, every part that waits. Raises `NotFound`, `Forbidden`
    (own_request), `Gone` (model_destroyed) and `Conflict` (request_not_awaiting_approval)."""
    row, waiting = _waiting(session, decider, request_id)
    _refuse_own(session, decider, waiting)
    if any(each.model_status == ModelStatus.DESTROYED for each in waiting):
        raise Gone("The model was destroyed: nothing of it is left to forget.", code="model_destroyed")
    decision = _decision(decider, "approved", reason)
    ids = [each.id for each in waiting]
    session.execute(_APPROVE, {"ids": ids, "decision": decision})
    _note(session, decider, row, "approve", reason, decision, ids)


def reject(session: Session, decider: Decider, request_id: uuid.UUID, reason: str) -> None:
    """It fails, and may be retried: then it waits again. Raises `NotFound` and `Conflict`
    (request_not_awaiting_approval)."""
    row, waiting = _waiting(session, decider, request_id)
    decision = _decision(decider, "rejected", reason)
    ids = [each.id for each in waiting]
    session.execute(_REJECT, {"ids": ids, "decision": decision, "code": REJECTED, "detail": _DETAIL})
    _note(session, decider, row, "reject", reason, decision, ids)


def _waiting(session: Session, decider: Decider, request_id: uuid.UUID) -> tuple[AnyRow, Sequence[AnyRow]]:
    """Held until the commit."""
    row = service.found(session, decider.tenant_id, request_id)
    ids = [row.id] if row.registered_model_id is not None else list(row.children or [])
    waiting = session.execute(_WAITING, {"tenant_id": decider.tenant_id, "ids": ids}).all()
    if not waiting:
        row = service.found(session, decider.tenant_id, request_id)
        raise Conflict(
            f"The request is {row.status}: nothing of it waits for an approval.",
            code="request_not_awaiting_approval",
            status_now=row.status,
        )
    return row, waiting


def _refuse_own(session: Session, decider: Decider, waiting: Sequence[AnyRow]) -> None:
    askers = {each.api_key_id for each in waiting if each.api_key_id is not None}
    if decider.key_id is None or not askers:
        return
    same = same_hand(session, decider.tenant_id, decider.key_id, askers, decider.new_hours)
    if same is None:
        return
    others = "another administrator has to, or the operator (python -m app.admin approve)"
    if same.until is None:
        why, until = "This key, or one that it was rotated with, asked for it", None
        then = f"{others[0].upper()}{others[1:]}"
    else:
        until = rfc3339(same.until)
        why = "A key that is connected with this one by who made which, a short while ago, asked for it"
        then = f"This key may approve from {until} on; before, {others}"
    raise Forbidden(
        f"{why}. {then}. Rejecting and cancelling it are open to this one.",
        code="own_request",
        may_approve_from=until,
    )


def _decision(decider: Decider, decision: str, reason: str) -> str:
    at = rfc3339(datetime.now(UTC))
    return json.dumps({"decision": decision, "by": decider.actor, "reason": reason, "at": at})


def _note(
    session: Session,
    decider: Decider,
    row: AnyRow,
    what: str,
    reason: str,
    decision: str,
    ids: Sequence[uuid.UUID],
) -> None:
    if row.registered_model_id is None:
        bound = {"id": row.id, "decision": decision, "approved": what == "approve"}
        session.execute(_NOTE_ON_PARENT, bound)
    told = {"reason": reason, "requests": [str(each) for each in ids]}
    session.execute(
        audit_entry(
            decider.tenant_id,
            decider.actor,
            f"deletion_request.{what}",
            row.id,
            decider.http_request_id,
            **told,
        )
    )
