"""Instance lists of one tenant."""

import uuid
from typing import Any

from sqlalchemy import delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.instances import UNPACKED, NamedInstances
from app.core.rows import AnyRow
from models import InstanceList, time_ordered_id

_SHOWN: tuple[Any, ...] = (InstanceList.id, InstanceList.instance_count, InstanceList.created_at)
_ITEMS = text(
    "INSERT INTO instance_list_items (instance_list_id, instance_hash, tenant_id, position)"
    f" SELECT :list_id, instance_hash, :tenant_id, position FROM ({UNPACKED}) AS named"
)
_PACKED = text(
    "SELECT l.instance_count, l.hash_key_id, (SELECT string_agg(instance_hash, ''::bytea ORDER BY position)"
    " FROM instance_list_items WHERE instance_list_id = l.id) AS packed"
    " FROM instance_lists l WHERE l.tenant_id = :tenant_id AND l.id = :list_id"
)


async def insert_list(
    session: AsyncSession, tenant_id: uuid.UUID, instances: NamedInstances, hash_key_id: str
) -> AnyRow:
    list_id = time_ordered_id()
    made = await session.execute(
        insert(InstanceList)
        .values(id=list_id, tenant_id=tenant_id, instance_count=instances.count, hash_key_id=hash_key_id)
        .returning(*_SHOWN)
    )
    bound = {
        "list_id": list_id,
        "tenant_id": tenant_id,
        "packed": instances.packed,
        "instance_count": instances.count,
    }
    await session.execute(_ITEMS, bound)
    return made.one()


async def find(session: AsyncSession, tenant_id: uuid.UUID, list_id: uuid.UUID) -> AnyRow | None:
    query = select(*_SHOWN).where(InstanceList.tenant_id == tenant_id, InstanceList.id == list_id)
    return (await session.execute(query)).one_or_none()


async def packed(
    session: AsyncSession, tenant_id: uuid.UUID, list_id: uuid.UUID
) -> tuple[NamedInstances, str] | None:
    """The hashes in the order in which the list was sent, and the id of their key."""
    found = await session.execute(_PACKED, {"tenant_id": tenant_id, "list_id": list_id})
    row = found.one_or_none()
    return (NamedInstances(bytes(row.packed), row.instance_count), row.hash_key_id) if row else None


async def remove(session: AsyncSession, tenant_id: uuid.UUID, list_id: uuid.UUID) -> bool:
    removed = await session.execute(
        delete(InstanceList)
        .where(InstanceList.tenant_id == tenant_id, InstanceList.id == list_id)
        .returning(InstanceList.id)
    )
    return removed.one_or_none() is not None
