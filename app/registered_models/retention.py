"""The policy's clock, changed: how long superseded versions stay, and a withdrawn one taken back."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry, event
from app.core.errors import Conflict, Gone, NotFound
from app.registered_models import repository
from app.registered_models.life_schemas import Reason, Retention
from app.registered_models.schemas import ModelView, VersionView
from app.registered_models.service import model_not_found, model_view, version_view
from models.states import ModelStatus, VersionState

_SET = text("""
UPDATE registered_models SET policy = policy || CAST(:clock AS jsonb), decided_at = clock_timestamp(),
  journaled_at = NULL
WHERE id = :id
""")
_RELEASE = text("UPDATE model_versions SET state = 'superseded' WHERE id = :id")


async def change(session: AsyncSession, caller: Caller, model: str, sent: Retention) -> ModelView:
    """Raises `NotFound` and `Gone` (model_destroyed)."""
    row = await repository.lock_or_read(session, caller.tenant_id, model, lock=True)
    if row is None:
        raise model_not_found()
    if row.status == ModelStatus.DESTROYED:
        raise Gone("The model was destroyed.", code="model_destroyed")
    await session.execute(_SET, {"id": row.id, "clock": sent.model_dump_json()})
    told = sent.model_dump()
    await session.execute(
        audit_entry(
            caller.tenant_id, caller.actor, "model.change_retention", row.id, caller.request_id, **told
        )
    )
    return model_view(await repository.model(session, caller.tenant_id, row.id))


async def release(
    session: AsyncSession, caller: Caller, model: str, number: int, sent: Reason
) -> VersionView:
    """Out of quarantine: superseded again, its wait begins anew. Raises `NotFound`, `Gone` and `Conflict`
    (version_not_quarantined)."""
    row = await repository.lock_or_read(session, caller.tenant_id, model, lock=True)
    if row is None:
        raise model_not_found()
    version = await repository.version(session, caller.tenant_id, row.id, str(number))
    if version is None:
        raise NotFound("The model has no such version.", code="version_not_found")
    if row.status == ModelStatus.DESTROYED or version.state == VersionState.DELETED:
        raise Gone(
            "The version is deleted, or about to be; its bytes do not come back.", code="version_deleted"
        )
    if version.state != VersionState.QUARANTINED:
        raise Conflict(
            f"Version {number} is {version.state}; only a withdrawn one can be released.",
            code="version_not_quarantined",
        )
    await session.execute(_RELEASE, {"id": version.id})
    told = {"reason": sent.reason}
    await session.execute(event(caller.tenant_id, version.id, "version.superseded", by=caller.actor, **told))
    await session.execute(
        audit_entry(caller.tenant_id, caller.actor, "version.release", version.id, caller.request_id, **told)
    )
    found = await repository.version(session, caller.tenant_id, row.id, str(number))
    assert found is not None
    return version_view(found)
