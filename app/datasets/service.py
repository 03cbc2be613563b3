"""Registering training data: which URL may be named, and what a second registration means."""

import asyncio
import uuid
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry
from app.core.errors import Conflict, InvalidInput, NotFound
from app.core.roots import allowed_url
from app.datasets import repository
from app.datasets.schemas import DatasetView, NewDataset
from app.jobs.opening import queue_validation
from models.states import DatasetStatus


async def register(session: AsyncSession, caller: Caller, sent: NewDataset) -> tuple[DatasetView, bool]:
    """The data set, and whether a validation was queued.

    Raises `InvalidInput` (url_not_allowed, url_invalid, refreshes_…) and `Conflict` (dataset_exists).
    """
    values = await _canonical(session, caller, sent)
    made = await repository.insert_new(session, caller.tenant_id, name=sent.name, **values)
    if made is not None:
        await _queue(session, caller, made, "dataset.create")
        return await one(session, caller, str(made)), True
    existing = await repository.find(session, caller.tenant_id, sent.name, lock=True)
    if existing is None:
        raise Conflict(f"The name {sent.name} was in use a moment ago; try again.", code="dataset_exists")
    same = all(getattr(existing, field) == value for field, value in values.items())
    if existing.status == DatasetStatus.REJECTED:
        await repository.set_again(session, caller.tenant_id, existing.id, **values)
        await _queue(session, caller, existing.id, "dataset.revalidate")
        return await one(session, caller, sent.name), True
    if same:
        return DatasetView(**existing._mapping), False
    raise Conflict(
        f"There is a data set named {sent.name} with another URL, holdout or format; data that changed is "
        "registered under a new name, which may say that it `refreshes` this one.",
        code="dataset_exists",
    )


async def one(session: AsyncSession, caller: Caller, name_or_id: str) -> DatasetView:
    """Raises `NotFound`."""
    row = await repository.find(session, caller.tenant_id, name_or_id)
    if row is None:
        raise NotFound("There is no such data set.", code="dataset_not_found")
    return DatasetView(**row._mapping)


async def _canonical(session: AsyncSession, caller: Caller, sent: NewDataset) -> dict[str, Any]:
    roots = await repository.allowed_roots(session, caller.tenant_id)
    # Resolving links asks the file system, which may be a slow one.
    url = await asyncio.to_thread(allowed_url, sent.url, roots)
    holdout = await asyncio.to_thread(allowed_url, sent.holdout_url, roots) if sent.holdout_url else None
    refreshes_id = await _older(session, caller, sent) if sent.refreshes else None
    return {"url": url, "holdout_url": holdout, "format": sent.format, "refreshes_id": refreshes_id}


async def _older(session: AsyncSession, caller: Caller, sent: NewDataset) -> uuid.UUID:
    """Raises `InvalidInput` (refreshes_unknown, refreshes_another_format)."""
    older = await repository.find(session, caller.tenant_id, sent.refreshes or "")
    if older is None or older.status != DatasetStatus.READY or older.name == sent.name:
        raise InvalidInput(
            "refreshes names no data set that is ready; register the snapshot after what it refreshes.",
            code="refreshes_unknown",
        )
    if older.format != sent.format:
        raise InvalidInput(
            f"The data set {older.name} has the format {older.format}; a snapshot of it has the same.",
            code="refreshes_another_format",
        )
    older_id: uuid.UUID = older.id
    return older_id


async def _queue(session: AsyncSession, caller: Caller, dataset_id: uuid.UUID, action: str) -> None:
    await session.execute(audit_entry(caller.tenant_id, caller.actor, action, dataset_id, caller.request_id))
    await queue_validation(
        session, tenant_id=caller.tenant_id, http_request_id=caller.request_id, dataset_id=dataset_id
    )
