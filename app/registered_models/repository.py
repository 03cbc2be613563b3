"""Registered models and their versions, of one tenant."""

import uuid
from typing import Any

from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.naming import as_id, is_name
from app.core.rows import AnyRow
from models import ModelTask, RegisteredModel, time_ordered_id

_MODELS = """
SELECT m.id, m.name, m.status, m.error_code, m.error_detail, d.name AS dataset, m.network, m.recipe, m.policy,
  m.checkpoint_url, m.created_at, v.number AS latest_version,
  (SELECT source.name || '@' || origin.number FROM model_versions origin
   JOIN registered_models source ON source.id = origin.registered_model_id
   WHERE origin.id = m.derived_from_version_id) AS derived_from,
  (SELECT j.id FROM jobs j WHERE j.registered_model_id = m.id AND j.kind = 'validate_model'
   ORDER BY j.id DESC LIMIT 1) AS job,
  (SELECT jsonb_agg(jsonb_build_object('name', t.name, 'kind', t.kind, 'outputs', t.outputs,
     'remaining', t.remaining) ORDER BY t.position)
   FROM model_tasks t WHERE t.registered_model_id = m.id) AS tasks
FROM registered_models m
JOIN datasets d ON d.id = m.dataset_id
LEFT JOIN model_versions v ON v.id = m.head_version_id
WHERE m.tenant_id = :tenant_id
"""
_MODEL = text(_MODELS + " AND m.id = :model_id")
_MODEL_PAGE = text(
    _MODELS + " AND (CAST(:after AS uuid) IS NULL OR m.id < :after) ORDER BY m.id DESC LIMIT :limit"
)
_VERSIONS = """
SELECT v.id, v.number, p.number AS parent, v.state, 'sha256:' || encode(a.sha256, 'hex') AS digest, a.size,
  a.path, a.state AS artifact_state, a.key_store, v.guarantee, v.empirical_steps, v.report, v.job_id AS job,
  v.created_at, v.state_since, m.status AS model_status,
  EXISTS (SELECT FROM legal_holds h WHERE h.registered_model_id = m.id AND h.lifted_at IS NULL
          AND (h.version_id IS NULL OR h.version_id = v.id)) AS on_hold,
  ARRAY(SELECT name FROM aliases WHERE registered_model_id = v.registered_model_id AND version_id = v.id
        ORDER BY name) AS aliases
FROM model_versions v
JOIN registered_models m ON m.id = v.registered_model_id
JOIN artifacts a ON a.id = v.artifact_id
LEFT JOIN model_versions p ON p.id = v.parent_id
WHERE v.tenant_id = :tenant_id AND v.registered_model_id = :model_id
"""
_VERSION_PAGE = text(
    _VERSIONS + " AND (CAST(:after AS uuid) IS NULL OR v.id < :after) ORDER BY v.id DESC LIMIT :limit"
)
_VERSION_BY_NUMBER = text(_VERSIONS + " AND v.number = :number")
_VERSION_BY_ALIAS = text(
    _VERSIONS
    + " AND v.id = (SELECT version_id FROM aliases WHERE registered_model_id = :model_id AND name = :alias)"
)
_ALIASES = text(
    "SELECT a.name, v.number AS version FROM aliases a JOIN model_versions v ON v.id = a.version_id"
    " WHERE a.tenant_id = :tenant_id AND a.registered_model_id = :model_id ORDER BY a.name"
)


async def find_id(session: AsyncSession, tenant_id: uuid.UUID, name_or_id: str) -> uuid.UUID | None:
    row = await lock_or_read(session, tenant_id, name_or_id, lock=False)
    return row.id if row else None


async def lock_or_read(
    session: AsyncSession, tenant_id: uuid.UUID, name_or_id: str, *, lock: bool
) -> AnyRow | None:
    """id, name, status, head_version_id of a model by name or id; `lock` holds it until the commit."""
    model_id = as_id(name_or_id)
    if model_id is None and not is_name(name_or_id):
        return None
    which = RegisteredModel.id == model_id if model_id else RegisteredModel.name == name_or_id
    query = select(
        RegisteredModel.id, RegisteredModel.name, RegisteredModel.status, RegisteredModel.head_version_id
    ).where(RegisteredModel.tenant_id == tenant_id, which)
    if lock:
        query = query.with_for_update(key_share=True)
    return (await session.execute(query)).one_or_none()


async def model(session: AsyncSession, tenant_id: uuid.UUID, model_id: uuid.UUID) -> AnyRow:
    return (await session.execute(_MODEL, {"tenant_id": tenant_id, "model_id": model_id})).one()


async def page(
    session: AsyncSession, tenant_id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> list[AnyRow]:
    bound = {"tenant_id": tenant_id, "after": after, "limit": limit}
    return list((await session.execute(_MODEL_PAGE, bound)).all())


async def insert_new(
    session: AsyncSession, tenant_id: uuid.UUID, tasks: list[dict[str, Any]], **values: Any
) -> uuid.UUID | None:
    """The new id, or None when the name is taken."""
    model_id = time_ordered_id()
    try:
        async with session.begin_nested():
            await session.execute(insert(RegisteredModel).values(id=model_id, tenant_id=tenant_id, **values))
    except IntegrityError:
        return None
    rows = [
        {"registered_model_id": model_id, "tenant_id": tenant_id, "position": position, **task}
        for position, task in enumerate(tasks)
    ]
    await session.execute(insert(ModelTask), rows)
    return model_id


async def versions(
    session: AsyncSession, tenant_id: uuid.UUID, model_id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> list[AnyRow]:
    bound = {"tenant_id": tenant_id, "model_id": model_id, "after": after, "limit": limit}
    return list((await session.execute(_VERSION_PAGE, bound)).all())


async def version(
    session: AsyncSession, tenant_id: uuid.UUID, model_id: uuid.UUID, number_or_alias: str
) -> AnyRow | None:
    bound: dict[str, Any] = {"tenant_id": tenant_id, "model_id": model_id}
    if number_or_alias.isascii() and number_or_alias.isdigit() and len(number_or_alias) <= 9:
        found = await session.execute(_VERSION_BY_NUMBER, bound | {"number": int(number_or_alias)})
    elif is_name(number_or_alias):
        found = await session.execute(_VERSION_BY_ALIAS, bound | {"alias": number_or_alias})
    else:
        return None
    return found.one_or_none()


async def aliases(session: AsyncSession, tenant_id: uuid.UUID, model_id: uuid.UUID) -> list[AnyRow]:
    return list((await session.execute(_ALIASES, {"tenant_id": tenant_id, "model_id": model_id})).all())
