"""What is recorded about a request's deadlines while it is under way: that the person was told of its
receipt, and that they were told, with the reason, that it takes longer.

A request on a data set and its children share their dates. Locks are taken in the order jobs, requests.
"""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry, event
from app.core.errors import Conflict, InvalidInput
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.core.wire import rfc3339
from app.deletion_requests import service
from app.deletion_requests.deadlines import find
from app.deletion_requests.schemas import NewExtension
from models.states import TERMINAL

_ACKNOWLEDGE = text("""
UPDATE deletion_requests SET acknowledged_at = now(), revision = revision + 1
WHERE tenant_id = :tenant_id AND (id = :id OR parent_id = :id) AND acknowledged_at IS NULL
""")
# A request on a data set is in the journal with each of its parts.
_JOURNAL_AGAIN = text("""
UPDATE deletion_requests SET journaled_at = NULL
WHERE tenant_id = :tenant_id AND (id = :id OR parent_id = :id)
""")
_LOCK_JOBS = text("""
SELECT id FROM jobs WHERE id IN (
  SELECT job_id FROM deletion_requests WHERE tenant_id = :tenant_id AND (id = :id OR parent_id = :id)
) ORDER BY id FOR NO KEY UPDATE
""")
_EXTEND = text("""
UPDATE deletion_requests
SET due_at = :due_at, extension = CAST(:extension AS jsonb), revision = revision + 1,
  alarms = array_remove(array_remove(alarms, 'due_soon'), 'due_passed')
WHERE tenant_id = :tenant_id AND (id = :id OR parent_id = :id) AND extension IS NULL
  AND coalesce(status NOT IN ('succeeded', 'failed', 'cancelled'), true)
RETURNING id
""")
# A job is as urgent as the most urgent of its requests that still want it.
_URGENCY = text("""
UPDATE jobs SET revision = revision + 1, due_at = (
  SELECT min(due_at) FROM deletion_requests r
  WHERE r.job_id = jobs.id AND r.status NOT IN ('succeeded', 'failed', 'cancelled')
) WHERE id = ANY(CAST(:ids AS uuid[]))
""")


async def acknowledge(session: AsyncSession, caller: Caller, request_id: uuid.UUID) -> None:
    """Twice is once: the first time counts. Raises `NotFound`."""
    await service.row_of(session, caller, request_id)
    bound = {"tenant_id": caller.tenant_id, "id": request_id}
    done: Any = await session.execute(_ACKNOWLEDGE, bound)
    if done.rowcount:
        await session.execute(_JOURNAL_AGAIN, bound)
        await _note(session, caller, request_id, "acknowledge")


async def extend(
    session: AsyncSession, caller: Caller, settings: Settings, request_id: uuid.UUID, sent: NewExtension
) -> None:
    """Raises `NotFound`; `Conflict`: request_finished, no_extension, already_extended, due_date_passed; and
    `InvalidInput`: notified_too_late, notified_in_the_future."""
    request = await service.row_of(session, caller, request_id)
    due_at = _extended(request, settings)
    _refuse_late_notice(request, sent.notified_at)
    bound = {"tenant_id": caller.tenant_id, "id": request_id}
    jobs = list((await session.execute(_LOCK_JOBS, bound)).scalars())
    extension = {
        "reason": sent.reason,
        "notified_at": rfc3339(sent.notified_at),
        "previous_due_at": rfc3339(request.due_at),
    }
    moved = (
        await session.execute(_EXTEND, bound | {"due_at": due_at, "extension": json.dumps(extension)})
    ).all()
    if not moved:
        raise _already()
    await session.execute(_JOURNAL_AGAIN, bound)
    await session.execute(_URGENCY, {"ids": jobs})
    await _note(session, caller, request_id, "extend", **extension, due_at=rfc3339(due_at))


def _extended(request: AnyRow, settings: Settings) -> datetime:
    if request.status in TERMINAL:
        raise Conflict(f"The request has {request.status} already.", code="request_finished")
    if request.extension is not None:
        raise _already()
    if request.parent is not None:
        raise Conflict(
            "The request shares its dates with the one on the data set that it belongs to: extend that.",
            code="no_extension",
            parent=str(request.parent),
        )
    regulation = find(request.regulation, settings) if request.regulation else None
    if regulation is None or regulation.extended is None or request.due_at is None:
        raise Conflict("No regulation that the request names allows an extension.", code="no_extension")
    if request.due_at <= datetime.now(UTC):
        raise Conflict("The due date has passed: it can no longer be extended.", code="due_date_passed")
    return regulation.extended.end(request.created_at)


def _refuse_late_notice(request: AnyRow, notified_at: datetime) -> None:
    if notified_at > datetime.now(UTC):
        raise InvalidInput(
            "notified_at lies in the future: first tell the person.", code="notified_in_the_future"
        )
    if notified_at > request.due_at:
        raise InvalidInput("The person was told after the due date.", code="notified_too_late")


def _already() -> Conflict:
    return Conflict("The due date was extended already; that can be done once.", code="already_extended")


async def _note(
    session: AsyncSession, caller: Caller, request_id: uuid.UUID, action: str, **told: Any
) -> None:
    """In the history and in the audit log."""
    kind = {"acknowledge": "deadline.acknowledged", "extend": "deadline.extended"}[action]
    await session.execute(event(caller.tenant_id, request_id, kind, **told))
    await session.execute(
        audit_entry(
            caller.tenant_id,
            caller.actor,
            f"deletion_request.{action}",
            request_id,
            caller.request_id,
            **told,
        )
    )
