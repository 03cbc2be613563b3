"""Deletion requests of one tenant, as they are read."""

import re
import uuid
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.core.newest import NO_BOUND, newest, walk
from app.core.rows import AnyRow
from models.states import RunStatus

# A request on a data set has no status of its own. Its children's are summed up: what still moves counts
# before what is done, and a failure before a success.
_SUMMARY = """
CASE WHEN children.statuses && '{needs_review}' THEN 'needs_review'
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
_CHILDREN = """
LEFT JOIN LATERAL (
  SELECT array_agg(c.status) AS statuses, array_agg(c.id ORDER BY c.id) AS ids,
    array_agg(c.id ORDER BY c.id) FILTER (WHERE c.status = 'failed') AS failed, sum(c.revision) AS revisions,
    count(*) FILTER (WHERE c.finished_at IS NULL) AS unfinished, max(c.finished_at) AS finished_at
  FROM deletion_requests c WHERE r.registered_model_id IS NULL AND c.parent_id = r.id
) children ON true
"""
_REQUESTS = f"""
SELECT r.id, r.parent_id AS parent, m.name AS model, d.name AS dataset, r.tasks, r.scope, r.method,
  r.guarantee,
  r.instance_count, r.already_forgotten, parent.instance_count - r.instance_count AS never_had,
  r.reference, r.regulation, r.metadata, r.created_at, r.due_at,
  r.acknowledge_by, r.acknowledged_at, r.extension, r.approval,
  r.job_id AS job, v.number AS result_version, r.error_code, r.error_detail, r.cancel_requested_at,
  r.registered_model_id, coalesce(r.status, {_SUMMARY}) AS status,
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
{_CHILDREN}
WHERE r.tenant_id = :tenant_id
"""
# Ids of requests on data sets, whose status is NULL.
_ON_DATA_SETS = """
SELECT r.id FROM deletion_requests r
WHERE r.tenant_id = :tenant_id AND r.status IS NULL AND r.id < :before ORDER BY r.id DESC LIMIT :limit
"""
# Few have the same reference.
_ON_DATA_SETS_WITH_REFERENCE = f"""
SELECT r.id FROM deletion_requests r {_CHILDREN}
WHERE r.tenant_id = :tenant_id AND r.status IS NULL AND r.id < :before AND r.reference = :reference
  AND coalesce(CAST(:status AS text), '') IN ('', {_SUMMARY})
ORDER BY r.id DESC LIMIT :limit
"""
# What is now summed up as `:status` has a child that says so: the first that does stands for all. What has
# none is left alone. (CASE, because of equations the planner would believe that next to no row passes them,
# and read all before it sorts.)
_ON_DATA_SETS_NOW = f"""
SELECT now.parent_id FROM unnest(CAST(:of_children AS text[])) AS own(status) CROSS JOIN LATERAL (
  SELECT one.parent_id FROM deletion_requests one CROSS JOIN LATERAL (
    SELECT array_agg(c.status) AS statuses,
      (array_agg(c.id ORDER BY c.id) FILTER (WHERE c.status = one.status))[1] AS first
    FROM deletion_requests c WHERE c.parent_id = one.parent_id
  ) children
  WHERE one.tenant_id = :tenant_id AND one.parent_id IS NOT NULL AND {walk("one.status", "one.parent_id")}
    AND CASE WHEN one.id = children.first THEN {_SUMMARY} = :status ELSE false END
  ORDER BY one.status DESC, one.parent_id DESC LIMIT :limit
) now
"""
# What is partly done and partly queued is running, too.
_OF_CHILDREN = {"running": ["running", "queued"]}
# Few models are fine-tuned from another: only for those is it worth asking what they remember.
_ONE = text(f"""
SELECT one.*, EXISTS (
  SELECT FROM registered_models m JOIN model_versions v ON v.id = m.derived_from_version_id
  WHERE v.registered_model_id = one.registered_model_id
) AS has_descendants
FROM ({_REQUESTS} AND r.id = :id) one
""")


def find(session: Session, tenant_id: uuid.UUID, request_id: uuid.UUID) -> AnyRow | None:
    return session.execute(_ONE, {"tenant_id": tenant_id, "id": request_id}).one_or_none()


async def page(
    session: AsyncSession,
    tenant_id: uuid.UUID,
    *,
    model_id: uuid.UUID | None,
    status: str | None,
    reference: str | None,
    after: uuid.UUID | None,
    limit: int,
    limited_to: Sequence[uuid.UUID] | None,
) -> list[AnyRow]:
    """Newest first. Children are shown when a model is asked for, and below their parent otherwise.
    `limited_to`: the models that the caller may see, if not all; of others nothing would be shown anyway."""
    query, bound = page_query(
        tenant_id,
        model_id=model_id,
        status=status,
        reference=reference,
        after=after,
        limit=limit,
        limited_to=limited_to,
    )
    return list((await session.execute(text(query), bound)).all())


def page_query(
    tenant_id: uuid.UUID,
    *,
    model_id: uuid.UUID | None = None,
    status: str | None = None,
    reference: str | None = None,
    after: uuid.UUID | None = None,
    limit: int,
    limited_to: Sequence[uuid.UUID] | None = None,
) -> tuple[str, dict[str, object]]:
    """First which, then what there is to say of them."""
    models = [model_id] if model_id else None if limited_to is None else list(limited_to)
    own = "" if model_id else " AND r.parent_id IS NULL"
    reference_is = " AND r.reference = :reference" if reference is not None else ""
    ids = newest("deletion_requests", own + reference_is, of_models=models is not None)
    if models is None:
        ids += f" UNION ALL ({_on_data_sets(status, reference)})"
    query = (
        f"{_REQUESTS} AND r.id = ANY(ARRAY("
        f"SELECT DISTINCT id FROM ({ids}) found ORDER BY id DESC LIMIT :limit)) ORDER BY r.id DESC"
    )
    bound = {
        "tenant_id": tenant_id,
        "models": models,
        "reference": reference,
        "before": after or NO_BOUND,
        "statuses": [status] if status else list(RunStatus),
        "status": status,
        "of_children": _OF_CHILDREN.get(status, [status]) if status else None,
        "limit": limit,
    }
    return query, {name: value for name, value in bound.items() if re.search(f":{name}\\b", query)}


def _on_data_sets(status: str | None, reference: str | None) -> str:
    if reference is not None:
        return _ON_DATA_SETS_WITH_REFERENCE
    return _ON_DATA_SETS_NOW if status else _ON_DATA_SETS
