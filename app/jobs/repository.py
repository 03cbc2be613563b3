"""Jobs of one tenant, as they are read."""

import uuid
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.newest import NO_BOUND, newest
from app.core.rows import AnyRow
from models.states import JOB_STATUSES

_JOBS = """
SELECT j.id, j.kind, j.status, j.phase, m.name AS model, d.name AS dataset, j.method, j.progress, j.device,
  base.number AS base_version, result.number AS result_version,
  coalesce(j.report, result.report) AS report, j.error_code, j.error_detail, j.created_at, j.due_at,
  j.started_at, j.finished_at, j.cancel_requested_at, j.approved_at, j.rungs, j.decision,
  (SELECT count(*) FROM deletion_requests r WHERE r.job_id = j.id) AS request_count,
  ARRAY(SELECT r.id FROM deletion_requests r WHERE r.job_id = j.id ORDER BY r.id LIMIT 100) AS requests,
  (SELECT coalesce(jsonb_agg(jsonb_build_object('number', a.fence, 'worker', a.worker, 'device', a.device,
     'started_at', a.created_at, 'finished_at', a.finished_at, 'outcome', a.outcome,
     'error_code', a.error_code, 'error_detail', a.error_detail, 'rungs', a.rungs) ORDER BY a.fence), '[]')
   FROM attempts a WHERE a.job_id = j.id) AS attempts
FROM jobs j
LEFT JOIN registered_models m ON m.id = j.registered_model_id
LEFT JOIN datasets d ON d.id = coalesce(j.dataset_id, m.dataset_id)
LEFT JOIN model_versions base ON base.id = j.base_version_id
LEFT JOIN model_versions result ON result.job_id = j.id
WHERE j.tenant_id = :tenant_id
"""
_ONE = text(_JOBS + " AND j.id = :id")


async def find(session: AsyncSession, tenant_id: uuid.UUID, job_id: uuid.UUID) -> AnyRow | None:
    return (await session.execute(_ONE, {"tenant_id": tenant_id, "id": job_id})).one_or_none()


async def page(
    session: AsyncSession,
    tenant_id: uuid.UUID,
    *,
    model_id: uuid.UUID | None,
    status: str | None,
    after: uuid.UUID | None,
    limit: int,
    limited_to: Sequence[uuid.UUID] | None,
) -> list[AnyRow]:
    """Newest first. `limited_to`: the models that the caller may see, if not all."""
    query, bound = page_query(
        tenant_id, model_id=model_id, status=status, after=after, limit=limit, limited_to=limited_to
    )
    return list((await session.execute(text(query), bound)).all())


def page_query(
    tenant_id: uuid.UUID,
    *,
    model_id: uuid.UUID | None = None,
    status: str | None = None,
    after: uuid.UUID | None = None,
    limit: int,
    limited_to: Sequence[uuid.UUID] | None = None,
) -> tuple[str, dict[str, object]]:
    """First which, then what there is to say of them."""
    models = [model_id] if model_id else None if limited_to is None else list(limited_to)
    ids = newest("jobs", of_models=models is not None)
    query = (
        f"{_JOBS} AND j.id = ANY(ARRAY(SELECT id FROM ({ids}) found ORDER BY id DESC LIMIT :limit))"
        " ORDER BY j.id DESC"
    )
    bound: dict[str, object] = {
        "tenant_id": tenant_id,
        "statuses": [status] if status else list(JOB_STATUSES),
        "before": after or NO_BOUND,
        "limit": limit,
    }
    return query, bound | ({"models": models} if models is not None else {})
