"""Where an instance went: per model that learned from its data set, and per task."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.instances import UNPACKED, NamedInstances
from app.core.rows import AnyRow

# One row per instance, model and task with supervision; nulls where the data set does not know the
# instance. A model has learned from its data set once a checkpoint of it was accepted, and from the snapshots
# that it was on before.
_MEMORY = text(f"""
WITH target AS (
  SELECT value ->> 'name' AS name, (1::bigint << (ordinality - 1)::int) AS bit
  FROM datasets, jsonb_array_elements(targets) WITH ORDINALITY WHERE id = :dataset_id
)
SELECT named.position, d.instance_hash IS NOT NULL AS known, m.id AS model_id, m.name AS model,
  head.number AS head_version,
  t.name AS task, forgotten.deletion_request_id AS request, version.number AS version,
  forgotten.forgotten_at AS at, waiting.id AS waiting
FROM ({UNPACKED}) AS named
LEFT JOIN dataset_instances d ON d.dataset_id = :dataset_id AND d.instance_hash = named.instance_hash
LEFT JOIN registered_models m
  ON m.tenant_id = :tenant_id AND m.status = 'ready' AND (m.dataset_id = d.dataset_id OR EXISTS (
    SELECT FROM former_datasets former
    WHERE former.registered_model_id = m.id AND former.dataset_id = d.dataset_id
  ))
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
