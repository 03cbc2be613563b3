"""Moving an alias. To a version that remembers what was deleted since, only an administrator may, with a
reason; the model's line then goes back with it, and the requests are open again."""

import uuid

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry, event
from app.core.errors import Conflict, Gone, NotFound
from app.core.rows import AnyRow
from app.jobs.opening import join_or_open
from app.registered_models import memory, repository
from app.registered_models.memory import Remembered, Reopened
from app.registered_models.schemas import AliasView, NewAlias
from app.registered_models.service import model_not_found
from models import Alias, Job
from models.states import ModelStatus, RunStatus, VersionState

LATEST = "latest"
_SERVED = (VersionState.PUBLISHED, VersionState.SUPERSEDED)
_HOLDING_UP = (RunStatus.RUNNING, RunStatus.CANCELLING, RunStatus.NEEDS_REVIEW)


async def move(session: AsyncSession, caller: Caller, model: str, alias: str, sent: NewAlias) -> AliasView:
    """Raises `NotFound` and `Conflict` (version_not_served, version_remembers, alias_follows, job_active)."""
    row = await repository.lock_or_read(session, caller.tenant_id, model, lock=True)
    if row is None:
        raise model_not_found()
    if row.status == ModelStatus.DESTROYED:
        raise Gone("The model was destroyed.", code="model_destroyed")
    version = await repository.version(session, caller.tenant_id, row.id, str(sent.version))
    if version is None:
        raise NotFound("The model has no such version.", code="version_not_found")
    if version.state not in _SERVED:
        raise Conflict(
            f"Version {sent.version} is {version.state}; an alias points at a version that is served.",
            code="version_not_served",
        )
    forgotten_since = await memory.remembered(session, caller.tenant_id, row.id, version.id)
    if forgotten_since.labels:
        await _go_back(session, caller, row, version, alias, sent, forgotten_since)
    elif alias == LATEST and version.id != row.head_version_id:
        raise Conflict(
            "The alias latest follows the newest version by itself; use another alias.", code="alias_follows"
        )
    await _point(session, caller.tenant_id, row.id, alias, version.id)
    if alias != LATEST:
        await session.execute(
            audit_entry(
                caller.tenant_id,
                caller.actor,
                "alias.move",
                row.id,
                caller.request_id,
                alias=alias,
                version=sent.version,
            )
        )
    return AliasView(name=alias, version=sent.version)


async def _go_back(
    session: AsyncSession,
    caller: Caller,
    model: AnyRow,
    version: AnyRow,
    alias: str,
    sent: NewAlias,
    since: Remembered,
) -> None:
    if not (caller.is_admin and sent.reason):
        raise Conflict(
            f"Version {version.number} still remembers {since.instances} instances that {since.requests} "
            "deletion requests had forgotten since. An administrator may move back to it by giving a reason; "
            "those requests are then open again.",
            code="version_remembers",
            labels=since.labels,
            instances=since.instances,
            requests=since.requests,
        )
    await _refuse_while_active(session, model.id)
    reopened = await memory.take_back(session, caller.tenant_id, model.id, version.id)
    await _point(session, caller.tenant_id, model.id, LATEST, version.id)
    await session.execute(
        event(caller.tenant_id, model.id, "model.taken_back", version=version.number, reason=sent.reason)
    )
    await session.execute(
        audit_entry(
            caller.tenant_id,
            caller.actor,
            "model.take_back",
            model.id,
            caller.request_id,
            alias=alias,
            version=version.number,
            reason=sent.reason,
            reopened=[str(request.id) for request in reopened],
        )
    )
    await _queue_again(session, caller, model.id, reopened)


async def _queue_again(
    session: AsyncSession, caller: Caller, model_id: uuid.UUID, reopened: list[Reopened]
) -> None:
    """Last, because it locks the jobs; in a fixed order, so that two of these cannot wait for each other."""
    for method in sorted({request.method for request in reopened}):
        of_method = [request for request in reopened if request.method == method]
        due = [request.due_at for request in of_method if request.due_at is not None]
        await join_or_open(
            session,
            tenant_id=caller.tenant_id,
            model_id=model_id,
            method=method,
            due_at=min(due, default=None),
            request_ids=[request.id for request in of_method],
            http_request_id=caller.request_id,
        )


async def _refuse_while_active(session: AsyncSession, model_id: uuid.UUID) -> None:
    active = await session.scalar(
        select(Job.id).where(Job.registered_model_id == model_id, Job.status.in_(_HOLDING_UP)).limit(1)
    )
    if active is not None:
        raise Conflict(
            "A job is working on this model; wait for it, or cancel it first.",
            code="job_active",
            job=str(active),
        )


async def _point(
    session: AsyncSession, tenant_id: uuid.UUID, model_id: uuid.UUID, alias: str, version_id: uuid.UUID
) -> None:
    statement = insert(Alias).values(
        registered_model_id=model_id, name=alias, tenant_id=tenant_id, version_id=version_id
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["registered_model_id", "name"], set_={"version_id": text("excluded.version_id")}
        )
    )
