"""Deletion requests of one tenant, as they are read."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.rows import AnyRow

# A request on a data set has no status of its own. Its children's are summed up: what still moves counts
# before what is done, and a failure before a success.
_SUMMARY = """
CASE WHEN r.status IS NOT NULL THEN r.status
  WHEN children.statuses && '{needs_review}' THEN 'needs_review'
  WHEN children.statuses && '{awaiting_approval}' THEN 'awaiting_approval'
  WHEN children.statuses && '{cancelling}' THEN 'cancelling'
  WHEN children.statuses && '{running}' THEN 'running'
  WHEN children.statuses && '{queued}' THEN
    CASE WHEN children.statuses <@ '{queued}' OR NOT children.statuses && '{succeeded,failed}'
      THEN 'queued' ELSE 'running' END
  WHEN children.statuses && '{failed}' THEN 'failed'
  WHEN children.statuses && '{succeeded}' THEN 'succeeded'
  ELSE 'cancelled' END
"""
_REQUESTS = f"""
SELECT * FROM (
SELECT r.id, r.parent_id AS parent, m.name AS model, d.name AS dataset, r.tasks, r.scope, r.method,
  r.guarantee,
  r.instance_count, r.already_forgotten, parent.instance_count - r.instance_count AS never_had,
  r.reference, r.regulation, r.metadata, r.created_at, r.due_at,
  r.acknowledge_by, r.acknowledged_at, r.extension, r.approval,
  r.job_id AS job, v.number AS result_version, r.error_code, r.error_detail, r.cancel_requested_at,
  r.registered_model_id, {_SUMMARY} AS status,
  r.revision + coalesce(children.revisions, 0) AS revision,
  CASE WHEN r.registered_model_id IS NOT NULL THEN r.finished_at
    WHEN children.unfinished = 0 THEN children.finished_at END AS finished_at,
  children.ids AS children, children.failed AS failed_children,
  jsonb_path_query_array(v.report, '$.requests[*] ? (@.reference == $id)',
    jsonb_build_object('id', r.id)) AS figures,
  (SELECT coalesce(jsonb_agg(jsonb_build_object('status', substring(e.type FROM 9), 'at', e.created_at)
     ORDER BY e.id), '[]') FROM events e WHERE e.subject_id = r.id AND e.type LIKE 'request.%') AS transitions
FROM deletion_requests r
JOIN datasets d ON d.id = r.dataset_id
LEFT JOIN deletion_requests parent ON parent.id = r.parent_id
LEFT JOIN registered_models m ON m.id = r.registered_model_id
LEFT JOIN model_versions v ON v.id = r.result_version_id
LEFT JOIN LATERAL (
  SELECT array_agg(c.status) AS statuses, array_agg(c.id ORDER BY c.id) AS ids,
    array_agg(c.id ORDER BY c.id) FILTER (WHERE c.status = 'failed') AS failed, sum(c.revision) AS revisions,
    count(*) FILTER (WHERE c.finished_at IS NULL) AS unfinished, max(c.finished_at) AS finished_at
  FROM deletion_requests c WHERE r.registered_model_id IS NULL AND c.parent_id = r.id
) children ON true
WHERE r.tenant_id = :tenant_id
"""
# Few models are fine-tuned from another: only for those is it worth asking what they remember.
_ONE = text(f"""
SELECT one.*, EXISTS (
  SELECT FROM registered_models m JOIN model_versions v ON v.id = m.derived_from_version_id
  WHERE v.registered_model_id = one.registered_model_id
) AS has_descendants
FROM ({_REQUESTS} AND r.id = :id) shown) one
""")


async def find(session: AsyncSession, tenant_id: uuid.UUID, request_id: uuid.UUID) -> AnyRow | None:
    return (await session.execute(_ONE, {"tenant_id": tenant_id, "id": request_id})).one_or_none()


async def page(
    session: AsyncSession,
    tenant_id: uuid.UUID,
    *,
    model_id: uuid.UUID | None,
    status: str | None,
    reference: str | None,
    after: uuid.UUID | None,
    limit: int,
) -> list[AnyRow]:
    """Newest first. Children are shown when a model is asked for, and below their parent otherwise."""
    conditions = " AND r.registered_model_id = :model_id" if model_id else " AND r.parent_id IS NULL"
    conditions += " AND r.reference = :reference" if reference is not None else ""
    conditions += " AND r.id < :after" if after else ""
    # Looked at twice: what has a status of its own is passed over before anything is summed up or joined.
    conditions += " AND (r.status = :status OR r.status IS NULL)" if status else ""
    outer = " WHERE status = :status" if status else ""
    query = text(f"{_REQUESTS}{conditions}) shown{outer} ORDER BY id DESC LIMIT :limit")
    bound = {
        "tenant_id": tenant_id,
        "model_id": model_id,
        "reference": reference,
        "after": after,
        "status": status,
        "limit": limit,
    }
    named = {name: value for name, value in bound.items() if value is not None}
    return list((await session.execute(query, named)).all())
