"""OpenDSR requests and identity tables of one tenant."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import TextClause, insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.naming import as_id, is_name
from app.core.rows import AnyRow
from app.opendsr.status import STATUS
from models import OpenDSRCallback, OpenDSRRequest, time_ordered_id

_REQUEST = text(f"""
SELECT r.*, {STATUS} AS status FROM opendsr_requests r
WHERE r.tenant_id = :tenant_id AND r.subject_request_id = :subject_request_id
""")
# Two POSTs of one id: the second waits for the first one's commit, and finds its row.
_HOLD = text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0))")
_MOVE_STUB = text(
    "UPDATE opendsr_requests SET stub_status = :after WHERE id = :id AND stub_status = :before RETURNING id"
)
_ONLY_DATASET = text(
    "SELECT id, name, hash_key_id FROM datasets WHERE tenant_id = :tenant_id ORDER BY id LIMIT 2"
)
_DATASET = text(
    "SELECT id, name, hash_key_id FROM datasets"
    " WHERE tenant_id = :tenant_id AND (name = :name OR id = CAST(:id AS uuid))"
)
_DATASET_OF_MODEL = text(
    "SELECT d.id, d.name, d.hash_key_id FROM datasets d JOIN registered_models m ON m.dataset_id = d.id"
    " WHERE m.tenant_id = :tenant_id AND (m.name = :name OR m.id = CAST(:id AS uuid))"
)
# Whoever rotates keys waits from here to the commit.
_HOLD_KEY = text("SELECT id FROM datasets WHERE id = :id AND hash_key_id = :hash_key_id FOR KEY SHARE")
_UNKNOWN = text("""
SELECT count(*) FROM unnest(CAST(:instances AS bytea[])) AS sent(instance_hash)
WHERE NOT EXISTS (
  SELECT FROM dataset_instances i WHERE i.dataset_id = :dataset_id AND i.instance_hash = sent.instance_hash
)
""")
_ADD = text("""
INSERT INTO identity_instances (dataset_id, identity_hash, instance_hash, tenant_id)
SELECT :dataset_id, identity_hash, instance_hash, :tenant_id
FROM unnest(CAST(:identities AS bytea[]), CAST(:instances AS bytea[])) AS sent(identity_hash, instance_hash)
ON CONFLICT DO NOTHING
""")
_CLEAR = text("DELETE FROM identity_instances WHERE tenant_id = :tenant_id AND dataset_id = :dataset_id")


async def hold(session: AsyncSession, tenant_id: uuid.UUID, subject_request_id: uuid.UUID) -> None:
    await session.execute(_HOLD, {"what": f"opendsr {tenant_id} {subject_request_id}"})


async def find(session: AsyncSession, tenant_id: uuid.UUID, subject_request_id: uuid.UUID) -> AnyRow | None:
    bound = {"tenant_id": tenant_id, "subject_request_id": subject_request_id}
    return (await session.execute(_REQUEST, bound)).one_or_none()


async def add(
    session: AsyncSession, tenant_id: uuid.UUID, values: dict[str, Any], callbacks: Sequence[str]
) -> None:
    request_id = time_ordered_id()
    await session.execute(insert(OpenDSRRequest).values(id=request_id, tenant_id=tenant_id, **values))
    for url in callbacks:
        await session.execute(
            insert(OpenDSRCallback).values(
                id=time_ordered_id(), tenant_id=tenant_id, opendsr_request_id=request_id, url=url
            )
        )


async def move_stub(session: AsyncSession, request_id: uuid.UUID, before: str, after: str) -> bool:
    bound = {"id": request_id, "before": before, "after": after}
    return (await session.execute(_MOVE_STUB, bound)).one_or_none() is not None


async def datasets(session: AsyncSession, tenant_id: uuid.UUID) -> Sequence[AnyRow]:
    """Two at most: whether there is exactly one."""
    return (await session.execute(_ONLY_DATASET, {"tenant_id": tenant_id})).all()


async def dataset(session: AsyncSession, tenant_id: uuid.UUID, name: str) -> AnyRow | None:
    return await _named(session, _DATASET, tenant_id, name)


async def dataset_of_model(session: AsyncSession, tenant_id: uuid.UUID, name: str) -> AnyRow | None:
    return await _named(session, _DATASET_OF_MODEL, tenant_id, name)


async def _named(session: AsyncSession, query: TextClause, tenant_id: uuid.UUID, name: str) -> AnyRow | None:
    """By name or id; what is neither is not asked for."""
    found = as_id(name)
    if found is None and not is_name(name):
        return None
    return (await session.execute(query, {"tenant_id": tenant_id, "name": name, "id": found})).one_or_none()


async def hold_key(session: AsyncSession, dataset: AnyRow) -> bool:
    """Whether the data set is still under the hash key that it was read with; it stays so."""
    bound = {"id": dataset.id, "hash_key_id": dataset.hash_key_id}
    return (await session.execute(_HOLD_KEY, bound)).one_or_none() is not None


async def unknown_instances(session: AsyncSession, dataset_id: uuid.UUID, instances: list[bytes]) -> int:
    bound = {"dataset_id": dataset_id, "instances": instances}
    return int((await session.execute(_UNKNOWN, bound)).scalar_one())


async def add_identities(
    session: AsyncSession,
    tenant_id: uuid.UUID,
    dataset_id: uuid.UUID,
    pairs: Sequence[tuple[bytes, bytes]],
) -> int:
    """(identity, instance) pairs; how many are new."""
    bound = {
        "tenant_id": tenant_id,
        "dataset_id": dataset_id,
        "identities": [identity for identity, _ in pairs],
        "instances": [instance for _, instance in pairs],
    }
    return int((await session.execute(_ADD, bound)).rowcount)  # type: ignore[attr-defined]


async def clear_identities(session: AsyncSession, tenant_id: uuid.UUID, dataset_id: uuid.UUID) -> int:
    bound = {"tenant_id": tenant_id, "dataset_id": dataset_id}
    return int((await session.execute(_CLEAR, bound)).rowcount)  # type: ignore[attr-defined]
