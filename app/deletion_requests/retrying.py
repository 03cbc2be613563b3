"""Carrying out again what failed: one request alone; of a request on a data set, the children that failed."""

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
from app.deletion_requests import service
from app.jobs.opening import join_or_open

_REQUEUE = text("""
UPDATE deletion_requests AS request SET status = 'queued', finished_at = NULL, error_code = NULL,
  error_detail = NULL, cancel_requested_at = NULL, job_id = NULL, revision = request.revision + 1
FROM registered_models AS model
WHERE model.id = request.registered_model_id AND model.status = 'ready'
  AND request.tenant_id = :tenant_id AND request.id = ANY(CAST(:ids AS uuid[])) AND request.status = 'failed'
RETURNING request.id, request.registered_model_id AS model_id, request.method, request.due_at
""")


async def retry(session: AsyncSession, caller: Caller, request_id: uuid.UUID) -> None:
    """Raises `NotFound` and `Conflict` (nothing_to_retry)."""
    row = await service.row_of(session, caller, request_id)
    ids = [row.id] if row.registered_model_id is not None else list(row.children or [])
    failed = (await session.execute(_REQUEUE, {"tenant_id": caller.tenant_id, "ids": ids})).all()
    if not failed:
        raise Conflict(
            f"The request is {row.status}: nothing of it failed that could be carried out again (of a "
            "destroyed model nothing can).",
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
    # Last, because it locks the jobs; in a fixed order, so that two of these cannot wait for each other.
    by_job = attrgetter("model_id", "method")
    for (model_id, method), requests in groupby(sorted(failed, key=by_job), key=by_job):
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
