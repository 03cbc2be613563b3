"""Which deletions a version does not know of: what it remembers, and how a model is taken back to it."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.bundling import reopened

# The versions that `version_id` was made from, itself included: what they forgot, it has forgotten.
_LINE = """
WITH RECURSIVE line AS (
  SELECT id, parent_id FROM model_versions WHERE tenant_id = :tenant_id AND id = :version_id
  UNION ALL
  SELECT v.id, v.parent_id FROM model_versions v JOIN line ON v.id = line.parent_id
)
"""
_REMEMBERED = text(
    _LINE
    + """
SELECT count(*) AS labels, count(DISTINCT instance_hash) AS instances,
  count(DISTINCT deletion_request_id) AS requests
FROM forgotten_supervision
WHERE registered_model_id = :model_id AND version_id IS NOT NULL AND version_id NOT IN (SELECT id FROM line)
"""
)
_UNFORGET = text(
    _LINE
    + """
, cleared AS (
  UPDATE forgotten_supervision SET version_id = NULL
  WHERE registered_model_id = :model_id AND version_id IS NOT NULL AND version_id NOT IN (SELECT id FROM line)
  RETURNING task
), per_task AS (
  SELECT task, count(*) AS labels FROM cleared GROUP BY task
)
UPDATE model_tasks SET remaining = remaining + per_task.labels FROM per_task
WHERE registered_model_id = :model_id AND name = per_task.task
"""
)
# Requests that succeeded by a version off this line, those that found everything forgotten included.
_REOPEN = text(
    _LINE
    + """
UPDATE deletion_requests
SET status = 'queued', result_version_id = NULL, finished_at = NULL, job_id = NULL,
  cancel_requested_at = NULL, revision = revision + 1
WHERE tenant_id = :tenant_id AND registered_model_id = :model_id AND status = 'succeeded'
  AND result_version_id NOT IN (SELECT id FROM line)
RETURNING id, method, due_at
"""
)
_SUPERSEDE = text(
    _LINE
    + """
, moved AS (
  UPDATE model_versions SET state = 'superseded'
  WHERE registered_model_id = :model_id AND state = 'published' AND id NOT IN (SELECT id FROM line)
  RETURNING id, tenant_id
)
INSERT INTO events (tenant_id, subject_id, type, data)
SELECT tenant_id, id, 'version.superseded', jsonb_build_object('by', :version_id) FROM moved
"""
)
_PUBLISH = text("""
WITH moved AS (
  UPDATE model_versions SET state = 'published' WHERE id = :version_id AND state = 'superseded'
  RETURNING id, tenant_id, number
)
INSERT INTO events (tenant_id, subject_id, type, data)
SELECT tenant_id, id, 'version.published', jsonb_build_object('version', number) FROM moved
""")
_HEAD = text("UPDATE registered_models SET head_version_id = :version_id WHERE id = :model_id")


@dataclass(frozen=True)
class Remembered:
    """What the model has forgotten and the version has not."""

    labels: int
    instances: int
    requests: int


@dataclass(frozen=True)
class Reopened:
    id: uuid.UUID
    method: str
    due_at: datetime | None


async def remembered(
    session: AsyncSession, tenant_id: uuid.UUID, model_id: uuid.UUID, version_id: uuid.UUID
) -> Remembered:
    row = (await session.execute(_REMEMBERED, _bound(tenant_id, model_id, version_id))).one()
    return Remembered(row.labels, row.instances, row.requests)


async def take_back(
    session: AsyncSession, tenant_id: uuid.UUID, model_id: uuid.UUID, version_id: uuid.UUID
) -> list[Reopened]:
    """Make the version the model's head again; the requests that are open again by it, without a job yet."""
    bound = _bound(tenant_id, model_id, version_id)
    again = [Reopened(*row) for row in await session.execute(_REOPEN, bound)]
    await session.execute(reopened([each.id for each in again]))
    for statement in (_UNFORGET, _SUPERSEDE, _PUBLISH, _HEAD):
        await session.execute(statement, bound)
    return again


def _bound(tenant_id: uuid.UUID, model_id: uuid.UUID, version_id: uuid.UUID) -> dict[str, uuid.UUID]:
    return {"tenant_id": tenant_id, "model_id": model_id, "version_id": version_id}
