"""Jobs of one tenant, as they are read."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.rows import AnyRow

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
_PAGE = text(
    _JOBS
    + " AND (CAST(:model_id AS uuid) IS NULL OR j.registered_model_id = :model_id)"
    + " AND (CAST(:status AS text) IS NULL OR j.status = :status)"
    + " AND (CAST(:after AS uuid) IS NULL OR j.id < :after) ORDER BY j.id DESC LIMIT :limit"
)


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
) -> list[AnyRow]:
    bound = {
        "tenant_id": tenant_id,
        "model_id": model_id,
        "status": status,
        "after": after,
        "limit": limit,
    }
    return list((await session.execute(_PAGE, bound)).all())
