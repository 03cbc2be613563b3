"""Legal holds: what is under one is neither withdrawn nor deleted, and its clock stands still."""

import uuid

from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry, event
from app.core.errors import Conflict, Gone, NotFound
from app.core.rows import AnyRow
from app.registered_models import repository
from app.registered_models.life_schemas import HoldList, HoldView, NewHold, Reason
from app.registered_models.service import find_id, model_not_found
from models import LegalHold, time_ordered_id
from models.states import ModelStatus, VersionState

_HOLDS = text("""
SELECT h.id, v.number AS version, h.reason, h.placed_by, h.created_at AS placed_at, h.lifted_by, h.lifted_at,
  h.lift_reason
FROM legal_holds h LEFT JOIN model_versions v ON v.id = h.version_id
WHERE h.tenant_id = :tenant_id AND h.registered_model_id = :model_id
  AND (CAST(:id AS uuid) IS NULL OR h.id = :id)
ORDER BY h.id DESC
""")


async def place(session: AsyncSession, caller: Caller, model: str, sent: NewHold) -> HoldView:
    """Raises `NotFound`, `Gone` (model_destroyed, version_deleted) and `Conflict` (hold_exists). The model's
    row is locked: what is being deleted at this moment is deleted, or under the hold."""
    row = await _locked(session, caller, model)
    if row.status == ModelStatus.DESTROYED:
        raise Gone("The model was destroyed: there is nothing left to hold.", code="model_destroyed")
    version_id = None
    if sent.version is not None:
        version = await repository.version(session, caller.tenant_id, row.id, str(sent.version))
        if version is None:
            raise NotFound("The model has no such version.", code="version_not_found")
        if version.state == VersionState.DELETED:
            raise Gone("The version is deleted: there is nothing left to hold.", code="version_deleted")
        version_id = version.id
    hold_id = time_ordered_id()
    values = {"id": hold_id, "tenant_id": caller.tenant_id, "registered_model_id": row.id}
    values |= {"version_id": version_id, "reason": sent.reason, "placed_by": caller.actor}
    try:
        async with session.begin_nested():
            await session.execute(insert(LegalHold).values(**values))
    except IntegrityError:
        raise Conflict("It is under a legal hold already; lift that one first.", code="hold_exists") from None
    await _note(session, caller, row.id, hold_id, "place", version=sent.version, reason=sent.reason)
    return await _one(session, caller, row.id, hold_id)


async def lift(
    session: AsyncSession, caller: Caller, model: str, hold_id: uuid.UUID, sent: Reason
) -> HoldView:
    """The clock goes on from where it stood. Raises `NotFound` and `Conflict` (hold_lifted)."""
    row = await _locked(session, caller, model)
    found = await _one(session, caller, row.id, hold_id)
    if found.lifted_at is not None:
        raise Conflict("The hold was lifted before.", code="hold_lifted")
    await session.execute(
        update(LegalHold)
        .where(LegalHold.id == hold_id)
        .values(lifted_at=text("now()"), lifted_by=caller.actor, lift_reason=sent.reason, journaled_at=None)
    )
    await _note(session, caller, row.id, hold_id, "lift", version=found.version, reason=sent.reason)
    return await _one(session, caller, row.id, hold_id)


async def every(session: AsyncSession, caller: Caller, model: str) -> HoldList:
    model_id = await find_id(session, caller, model)
    bound = {"tenant_id": caller.tenant_id, "model_id": model_id, "id": None}
    rows = (await session.execute(_HOLDS, bound)).all()
    return HoldList(data=[HoldView(**row._mapping) for row in rows])


async def in_force(session: AsyncSession, model_ids: list[uuid.UUID]) -> list[AnyRow]:
    query = select(LegalHold.id, LegalHold.registered_model_id).where(
        LegalHold.registered_model_id.in_(model_ids), LegalHold.lifted_at.is_(None)
    )
    return list((await session.execute(query)).all())


async def _one(session: AsyncSession, caller: Caller, model_id: uuid.UUID, hold_id: uuid.UUID) -> HoldView:
    bound = {"tenant_id": caller.tenant_id, "model_id": model_id, "id": hold_id}
    row = (await session.execute(_HOLDS, bound)).one_or_none()
    if row is None:
        raise NotFound("The model has no such legal hold.", code="hold_not_found")
    return HoldView(**row._mapping)


async def _locked(session: AsyncSession, caller: Caller, model: str) -> AnyRow:
    row = await repository.lock_or_read(session, caller.tenant_id, model, lock=True)
    if row is None:
        raise model_not_found()
    return row


async def _note(
    session: AsyncSession, caller: Caller, model_id: uuid.UUID, hold_id: uuid.UUID, what: str, **data: object
) -> None:
    told = {"hold": str(hold_id)} | data
    await session.execute(event(caller.tenant_id, model_id, f"hold.{what}", by=caller.actor, **told))
    await session.execute(
        audit_entry(caller.tenant_id, caller.actor, f"legal_hold.{what}", model_id, caller.request_id, **told)
    )
