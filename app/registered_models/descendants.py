"""Models that were fine-tuned from a version: what the version remembered, they remember too.

A version remembers an instance unless its own line has forgotten every label of it. What a model inherited of
instances that are not in its own data cannot be unlearned there: it is remembered until the model is
destroyed, or registered anew from a version that has forgotten.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.instances import UNPACKED, NamedInstances
from app.core.rows import AnyRow

_OF_REQUEST = (
    "SELECT instance_hash, row_number() OVER (ORDER BY instance_hash) - 1 AS position"
    " FROM deletion_request_items WHERE deletion_request_id = :request_id"
)
_CHILDREN = text("""
SELECT m.id, m.name, m.head_version_id, m.derived_from_version_id AS source_id, v.number AS version
FROM registered_models m JOIN model_versions v ON v.id = m.derived_from_version_id
WHERE m.tenant_id = :tenant_id AND v.registered_model_id = :model_id AND m.status = 'ready'
ORDER BY m.name
""")
_REMEMBERED = """
WITH RECURSIVE line AS (
  SELECT id, parent_id, registered_model_id FROM model_versions WHERE id = :version_id
  UNION ALL
  SELECT v.id, v.parent_id, v.registered_model_id FROM model_versions v JOIN line ON v.id = line.parent_id
), model AS (
  SELECT m.id, m.dataset_id FROM registered_models m
  WHERE m.id = (SELECT registered_model_id FROM model_versions WHERE id = :version_id)
), task AS (
  SELECT t.name, 1::bigint << (target.ordinality - 1)::int AS bit
  FROM model JOIN model_tasks t ON t.registered_model_id = model.id
    JOIN datasets d ON d.id = model.dataset_id, jsonb_array_elements(d.targets) WITH ORDINALITY AS target
  WHERE target.value ->> 'name' = t.name AND (CAST(:tasks AS text[]) IS NULL OR t.name = ANY(:tasks))
)
SELECT named.position FROM ({named}) AS named
CROSS JOIN model
LEFT JOIN dataset_instances d ON d.dataset_id = model.dataset_id AND d.instance_hash = named.instance_hash
WHERE d.instance_hash IS NULL
  OR NOT EXISTS (SELECT FROM task WHERE d.supervised & task.bit <> 0)
  OR EXISTS (
    SELECT FROM task WHERE d.supervised & task.bit <> 0 AND NOT EXISTS (
      SELECT FROM forgotten_supervision f WHERE f.registered_model_id = model.id
        AND f.instance_hash = d.instance_hash AND f.task = task.name AND f.version_id IN (SELECT id FROM line)
    )
  )
"""


@dataclass(frozen=True)
class Descendant:
    """`version` of `source` is what it was fine-tuned from; `positions`: the named instances that its head
    remembers."""

    model: str
    source: str
    version: int
    positions: frozenset[int]


@dataclass(frozen=True)
class Named:
    """What is asked about, as a subquery and its values."""

    query: str
    bound: dict[str, object]
    tasks: Sequence[str] | None

    @classmethod
    def by_request(cls, request_id: uuid.UUID, tasks: Sequence[str]) -> "Named":
        return cls(_OF_REQUEST, {"request_id": request_id}, tasks)

    @classmethod
    def by_instances(cls, instances: NamedInstances) -> "Named":
        bound: dict[str, object] = {"packed": instances.packed, "instance_count": instances.count}
        return cls(UNPACKED, bound, None)


async def that_remember(
    session: AsyncSession, tenant_id: uuid.UUID, model_id: uuid.UUID, model: str, named: Named
) -> list[Descendant]:
    """All that descend from the model and remember any of it, nearest first."""
    found: list[Descendant] = []
    seen = {model_id}
    waiting: list[tuple[uuid.UUID, str, frozenset[int] | None]] = [(model_id, model, None)]
    while waiting:
        parent_id, parent, inherited = waiting.pop(0)
        bound = {"tenant_id": tenant_id, "model_id": parent_id}
        for child in (await session.execute(_CHILDREN, bound)).all():
            if child.id in seen:
                continue
            seen.add(child.id)
            passed_on = await _remembered(session, child.source_id, named)
            passed_on = passed_on if inherited is None else passed_on & inherited
            still = passed_on & await _remembered(session, child.head_version_id, named)
            if still:
                found.append(Descendant(child.name, parent, child.version, still))
            if passed_on:
                waiting.append((child.id, child.name, passed_on))
    return found


async def _remembered(session: AsyncSession, version_id: uuid.UUID, named: Named) -> frozenset[int]:
    query = text(_REMEMBERED.format(named=named.query))
    bound = named.bound | {"version_id": version_id, "tasks": list(named.tasks) if named.tasks else None}
    rows: Sequence[AnyRow] = (await session.execute(query, bound)).all()
    return frozenset(int(row.position) for row in rows)
