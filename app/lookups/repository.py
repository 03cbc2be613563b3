"""Where an instance went: per model that learned from its data set, and per task."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.instances import UNPACKED, NamedInstances
from app.core.rows import AnyRow
from app.core.snapshots import FAMILY, LEARNED_FROM

# One row per instance, model and task with supervision; nulls where no snapshot of the data set knows the
# instance. A model has learned from its data set once a checkpoint of it was accepted, and from the snapshots
# that it was on before; the newest of them says what there was to learn.
_MEMORY = text(f"""
WITH RECURSIVE {FAMILY}, target AS (
  SELECT value ->> 'name' AS name, (1::bigint << (ordinality - 1)::int) AS bit
  FROM datasets, jsonb_array_elements(targets) WITH ORDINALITY WHERE id = :dataset_id
), named AS ({UNPACKED}), learned AS (
  SELECT m.id AS model_id, snapshot.dataset_id, snapshot.left_at
  FROM registered_models m, LATERAL ({LEARNED_FROM.format(model="m.id")}) AS snapshot
  WHERE m.tenant_id = :tenant_id AND m.status = 'ready' AND m.dataset_id IN (SELECT id FROM family)
), d AS (
  SELECT DISTINCT ON (named.position, learned.model_id)
    named.position, learned.model_id, i.instance_hash, i.supervised
  FROM named CROSS JOIN learned
  JOIN dataset_instances i ON i.dataset_id = learned.dataset_id AND i.instance_hash = named.instance_hash
  ORDER BY named.position, learned.model_id, learned.left_at DESC
)
SELECT named.position, EXISTS (
    SELECT FROM dataset_instances i JOIN family ON family.id = i.dataset_id
    WHERE i.instance_hash = named.instance_hash
  ) AS known, m.id AS model_id, m.name AS model,
  head.number AS head_version,
  t.name AS task, forgotten.deletion_request_id AS request, version.number AS version,
  forgotten.forgotten_at AS at, waiting.id AS waiting
FROM named
LEFT JOIN d ON d.position = named.position
LEFT JOIN registered_models m ON m.id = d.model_id
LEFT JOIN model_versions head ON head.id = m.head_version_id
LEFT JOIN (model_tasks t JOIN target ON target.name = t.name)
  ON t.registered_model_id = m.id AND d.supervised & target.bit <> 0
LEFT JOIN forgotten_supervision forgotten ON forgotten.registered_model_id = m.id
  AND forgotten.instance_hash = d.instance_hash AND forgotten.task = t.name
  AND forgotten.version_id IS NOT NULL
LEFT JOIN model_versions version ON version.id = forgotten.version_id
LEFT JOIN LATERAL (
  SELECT r.id FROM deletion_requests r
  JOIN deletion_request_items i ON i.deletion_request_id = r.id AND i.instance_hash = d.instance_hash
  WHERE forgotten.version_id IS NULL AND r.registered_model_id = m.id AND t.name = ANY(r.tasks)
    AND r.status NOT IN ('succeeded', 'failed', 'cancelled')
  ORDER BY r.id LIMIT 1
) waiting ON true
ORDER BY named.position, m.name, t.position
""")
# Snapshots of one data set are under one key; those that were indexed amid a rotation may be not yet.
_KEYS = text(f"""
WITH RECURSIVE {FAMILY}
SELECT count(DISTINCT hash_key_id) FROM datasets WHERE id IN (SELECT id FROM family)
""")


async def under_one_key(session: AsyncSession, tenant_id: uuid.UUID, dataset_id: uuid.UUID) -> bool:
    found = await session.execute(_KEYS, {"tenant_id": tenant_id, "dataset_id": dataset_id})
    return int(found.scalar_one()) <= 1


async def memory(
    session: AsyncSession, tenant_id: uuid.UUID, dataset_id: uuid.UUID, instances: NamedInstances
) -> list[AnyRow]:
    bound = {
        "tenant_id": tenant_id,
        "dataset_id": dataset_id,
        "packed": instances.packed,
        "instance_count": instances.count,
    }
    return list((await session.execute(_MEMORY, bound)).all())
