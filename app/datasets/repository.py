"""Data sets of one tenant."""

import uuid
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.core.naming import as_id, is_name
from app.core.rows import AnyRow
from models import Dataset, Job, Tenant, time_ordered_id

_JOB = (
    select(Job.id)
    .where(Job.tenant_id == Dataset.tenant_id, Job.dataset_id == Dataset.id)
    .order_by(Job.id.desc())
    .limit(1)
    .correlate(Dataset)
    .scalar_subquery()
    .label("job")
)
_older = aliased(Dataset)
_REFRESHES = (
    select(_older.name)
    .where(_older.tenant_id == Dataset.tenant_id, _older.id == Dataset.refreshes_id)
    .correlate(Dataset)
    .scalar_subquery()
    .label("refreshes")
)
_SHOWN: tuple[Any, ...] = (
    Dataset.id,
    Dataset.name,
    Dataset.format,
    Dataset.url,
    Dataset.holdout_url,
    Dataset.status,
    Dataset.error_code,
    Dataset.error_detail,
    Dataset.fingerprint,
    Dataset.holdout_fingerprint,
    Dataset.instance_count,
    Dataset.holdout_count,
    Dataset.targets,
    Dataset.created_at,
    Dataset.hash_key_id,
    Dataset.refreshes_id,
    _REFRESHES,
    _JOB,
)


async def find(
    session: AsyncSession, tenant_id: uuid.UUID, name_or_id: str, *, lock: bool = False
) -> AnyRow | None:
    """By name or id; with `lock`, held against other writers until the commit."""
    dataset_id = as_id(name_or_id)
    if dataset_id is None and not is_name(name_or_id):
        return None
    which = Dataset.id == dataset_id if dataset_id else Dataset.name == name_or_id
    query = select(*_SHOWN).where(Dataset.tenant_id == tenant_id, which)
    if lock:
        query = query.with_for_update(of=Dataset, key_share=True)
    return (await session.execute(query)).one_or_none()


async def page(
    session: AsyncSession, tenant_id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> list[AnyRow]:
    query = select(*_SHOWN).where(Dataset.tenant_id == tenant_id).order_by(Dataset.id.desc()).limit(limit)
    if after:
        query = query.where(Dataset.id < after)
    return list((await session.execute(query)).all())


async def insert_new(session: AsyncSession, tenant_id: uuid.UUID, **values: Any) -> uuid.UUID | None:
    """The new id, or None when the name is taken (by another request at this very moment, too)."""
    dataset_id = time_ordered_id()
    try:
        async with session.begin_nested():
            await session.execute(insert(Dataset).values(id=dataset_id, tenant_id=tenant_id, **values))
    except IntegrityError:
        return None
    return dataset_id


async def set_again(
    session: AsyncSession, tenant_id: uuid.UUID, dataset_id: uuid.UUID, **values: Any
) -> None:
    await session.execute(
        update(Dataset)
        .where(Dataset.tenant_id == tenant_id, Dataset.id == dataset_id)
        .values(status="validating", error_code=None, error_detail=None, **values)
    )


async def allowed_roots(session: AsyncSession, tenant_id: uuid.UUID) -> list[str]:
    return list((await session.scalars(select(Tenant.allowed_roots).where(Tenant.id == tenant_id))).one())
