"""A person's word on requests that would take more than may go without one."""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry
from app.core.errors import Conflict, Forbidden, Gone
from app.core.rows import AnyRow
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
# A key and those that took its place, or whose place it took, speak for the same.
_SAME_HAND = text("""
WITH RECURSIVE line AS (
  SELECT id, rotated_from_id FROM api_keys WHERE id = :key_id
  UNION
  SELECT k.id, k.rotated_from_id FROM api_keys k
  JOIN line ON k.id = line.rotated_from_id OR k.rotated_from_id = line.id
)
SELECT EXISTS (SELECT FROM line WHERE id = ANY(CAST(:askers AS uuid[])))
""")
_DETAIL = (
    "A person did not approve of it: nothing was forgotten. Retry it to have it looked at again, or ask for "
    "less."
)


async def approve(session: AsyncSession, caller: Caller, request_id: uuid.UUID, reason: str) -> None:
    """Have it carried out; of a request on a data set, every part that waits. Raises `NotFound`, `Forbidden`
    (own_request), `Gone` (model_destroyed) and `Conflict` (request_not_awaiting_approval)."""
    row, waiting = await _waiting(session, caller, request_id)
    if await _asked_for(session, caller, waiting):
        raise Forbidden(
            "This key, or one that it was rotated with, asked for it: another administrator's has to "
            "approve. POST /v1/api-keys makes one. Rejecting and cancelling it are open to this one.",
            code="own_request",
        )
    if any(each.model_status == ModelStatus.DESTROYED for each in waiting):
        raise Gone("The model was destroyed: nothing of it is left to forget.", code="model_destroyed")
    decision = _decision(caller, "approved", reason)
    ids = [each.id for each in waiting]
    await session.execute(_APPROVE, {"ids": ids, "decision": decision})
    await _note(session, caller, row, "approve", reason, decision, ids)


async def reject(session: AsyncSession, caller: Caller, request_id: uuid.UUID, reason: str) -> None:
    """It fails, and may be retried: then it waits again. Raises `NotFound` and `Conflict`
    (request_not_awaiting_approval)."""
    row, waiting = await _waiting(session, caller, request_id)
    decision = _decision(caller, "rejected", reason)
    ids = [each.id for each in waiting]
    bound = {"ids": ids, "decision": decision, "code": REJECTED, "detail": _DETAIL}
    await session.execute(_REJECT, bound)
    await _note(session, caller, row, "reject", reason, decision, ids)


async def _waiting(
    session: AsyncSession, caller: Caller, request_id: uuid.UUID
) -> tuple[AnyRow, Sequence[AnyRow]]:
    """Held until the commit."""
    row = await service.row_of(session, caller, request_id)
    ids = [row.id] if row.registered_model_id is not None else list(row.children or [])
    waiting = (await session.execute(_WAITING, {"tenant_id": caller.tenant_id, "ids": ids})).all()
    if not waiting:
        row = await service.row_of(session, caller, request_id)
        raise Conflict(
            f"The request is {row.status}: nothing of it waits for an approval.",
            code="request_not_awaiting_approval",
            status_now=row.status,
        )
    return row, waiting


async def _asked_for(session: AsyncSession, caller: Caller, waiting: Sequence[AnyRow]) -> bool:
    askers = [each.api_key_id for each in waiting if each.api_key_id is not None]
    return bool(await session.scalar(_SAME_HAND, {"key_id": caller.key_id, "askers": askers}))


def _decision(caller: Caller, decision: str, reason: str) -> str:
    at = rfc3339(datetime.now(UTC))
    return json.dumps({"decision": decision, "by": caller.actor, "reason": reason, "at": at})


async def _note(
    session: AsyncSession,
    caller: Caller,
    row: AnyRow,
    what: str,
    reason: str,
    decision: str,
    ids: Sequence[uuid.UUID],
) -> None:
    if row.registered_model_id is None:
        bound = {"id": row.id, "decision": decision, "approved": what == "approve"}
        await session.execute(_NOTE_ON_PARENT, bound)
    action, requests = f"deletion_request.{what}", [str(each) for each in ids]
    await session.execute(
        audit_entry(
            caller.tenant_id,
            caller.actor,
            action,
            row.id,
            caller.request_id,
            reason=reason,
            requests=requests,
        )
    )
