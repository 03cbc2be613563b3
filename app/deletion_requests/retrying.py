"""Carrying out again what failed: one request alone; of a request on a data set, the children that failed.

What was approved of stays so. All else is looked at as if it were new, and what was rejected waits once more
for a person's word.
"""

import json
import uuid
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry
from app.core.bundling import reopened
from app.core.errors import Conflict
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.deletion_requests import service
from app.deletion_requests.allowance import asked
from app.deletion_requests.approval import EXPIRED, REJECTED
from app.deletion_requests.recorded import reasons_for
from app.jobs.opening import join_or_open

_FAILED = text("""
SELECT request.id, request.registered_model_id AS model_id, request.method, request.due_at, request.tasks,
  request.approval, request.approved_at, request.error_code
FROM deletion_requests AS request JOIN registered_models AS model ON model.id = request.registered_model_id
WHERE model.status = 'ready' AND request.tenant_id = :tenant_id AND request.id = ANY(CAST(:ids AS uuid[]))
  AND request.status = 'failed'
ORDER BY request.registered_model_id, request.id FOR UPDATE OF request
""")
_REQUEUE = text("""
UPDATE deletion_requests SET status = 'queued', finished_at = NULL, error_code = NULL, error_detail = NULL,
  cancel_requested_at = NULL, job_id = NULL, revision = revision + 1
WHERE id = ANY(CAST(:ids AS uuid[]))
""")
_WAIT = text("""
WITH moved AS (
  UPDATE deletion_requests SET status = 'awaiting_approval', finished_at = NULL, error_code = NULL,
    error_detail = NULL, cancel_requested_at = NULL, job_id = NULL, journaled_at = NULL,
    approval = CAST(:approval AS jsonb), revision = revision + 1
  WHERE id = :id RETURNING id, tenant_id
)
INSERT INTO events (tenant_id, subject_id, type)
SELECT tenant_id, id, 'request.awaiting_approval' FROM moved
""")


async def retry(session: AsyncSession, caller: Caller, settings: Settings, request_id: uuid.UUID) -> None:
    """Raises `NotFound` and `Conflict` (nothing_to_retry)."""
    row = await service.row_of(session, caller, request_id)
    ids = [row.id] if row.registered_model_id is not None else list(row.children or [])
    failed = (await session.execute(_FAILED, {"tenant_id": caller.tenant_id, "ids": ids})).all()
    if not failed:
        raise Conflict(
            f"The request's status is {row.status}: nothing of it failed, or its model was destroyed, so "
            "there is nothing to carry out again.",
            code="nothing_to_retry",
        )
    await session.execute(reopened([each.id for each in failed]))
    await session.execute(
        audit_entry(
            caller.tenant_id,
            caller.actor,
            "deletion_request.retry",
            request_id,
            caller.request_id,
            requests=[str(each.id) for each in failed],
        )
    )
    free = [each for each in failed if not await _waits(session, settings, each)]
    await session.execute(_REQUEUE, {"ids": [each.id for each in free]})
    # Last, because it locks the jobs; in a fixed order, so that two of these cannot wait for each other.
    by_job = attrgetter("model_id", "method")
    for (model_id, method), requests in groupby(sorted(free, key=by_job), key=by_job):
        together = list(requests)
        due: list[datetime] = [each.due_at for each in together if each.due_at is not None]
        await join_or_open(
            session,
            tenant_id=caller.tenant_id,
            model_id=model_id,
            method=method,
            due_at=min(due, default=None),
            request_ids=[each.id for each in together],
            http_request_id=caller.request_id,
        )


async def _waits(session: AsyncSession, settings: Settings, failed: AnyRow) -> bool:
    """It needs a person's word, and waits for it now."""
    if failed.error_code in (REJECTED, EXPIRED):
        approval = {"reasons": failed.approval["reasons"]}
    elif failed.approved_at is not None:
        return False
    else:
        approval = asked(await session.run_sync(reasons_for, settings, failed.model_id, [failed]))
    if not approval["reasons"] and failed.error_code not in (REJECTED, EXPIRED):
        return False
    await session.execute(_WAIT, {"id": failed.id, "approval": json.dumps(approval)})
    return True
