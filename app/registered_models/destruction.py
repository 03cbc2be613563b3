"""Destroying a model and all that descends from it, as regulators have ordered: said twice, then for good.

The first call says what would go and hands out a confirmation; the second, with it, marks the models. From
that commit on nothing of them is served. The relay fails their jobs and requests, and removes the bytes.
"""

import hmac
import time
import uuid
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry, event
from app.core.errors import Conflict, Gone
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.registered_models import holds
from app.registered_models.life_schemas import Destruction, DoomedModel, NewDestruction
from app.registered_models.service import find_id

CONFIRM_WITHIN = 900  # seconds

# `UNION`, not `UNION ALL`: it ends whatever refers to what.
_FAMILY = """
WITH RECURSIVE family AS (
  SELECT id FROM registered_models WHERE tenant_id = :tenant_id AND id = :model_id
  UNION
  SELECT child.id FROM registered_models child
  JOIN model_versions source ON source.id = child.derived_from_version_id
  JOIN family ON family.id = source.registered_model_id
)
"""
_LOCK = text(
    _FAMILY  # noqa: S608 (constants of this file)
    + "SELECT id FROM registered_models WHERE id IN (SELECT id FROM family) ORDER BY id FOR NO KEY UPDATE"
)
_DOOMED = text(
    _FAMILY  # noqa: S608 (constants of this file)
    + """
SELECT m.id, m.name AS model, m.head_version_id,
  (SELECT count(*) FROM model_versions v WHERE v.registered_model_id = m.id AND v.state <> 'deleted')
    AS versions,
  (SELECT count(*) FROM deletion_requests r WHERE r.registered_model_id = m.id
     AND r.status NOT IN ('succeeded', 'failed', 'cancelled')) AS open_requests
FROM registered_models m WHERE m.id IN (SELECT id FROM family) AND m.status <> 'destroyed'
ORDER BY m.id
"""
)
_DESTROY = text("""
UPDATE registered_models SET status = 'destroyed', error_code = 'model_destroyed', error_detail = :reason,
  decided_at = clock_timestamp(), journaled_at = NULL
WHERE id = ANY(CAST(:ids AS uuid[]))
""")


async def destroy(
    session: AsyncSession, caller: Caller, settings: Settings, model: str, sent: NewDestruction
) -> Destruction:
    """Raises `NotFound`, `Gone` (model_destroyed) and `Conflict` (legal_hold, confirmation_expired,
    confirmation_mismatch)."""
    model_id = await find_id(session, caller, model)
    bound = {"tenant_id": caller.tenant_id, "model_id": model_id}
    await session.execute(_LOCK, bound)
    doomed = list((await session.execute(_DOOMED, bound)).all())
    if not doomed:
        raise Gone("The model was destroyed before, with all that descends from it.", code="model_destroyed")
    await _refuse_under_hold(session, doomed)
    models = [DoomedModel(**row._mapping) for row in doomed]
    if sent.confirmation is None:
        expires = int(time.time()) + CONFIRM_WITHIN
        return Destruction(
            status="confirmation_needed",
            models=models,
            confirmation=_confirmation(settings, model_id, doomed, expires),
            expires_at=datetime.fromtimestamp(expires, UTC),
        )
    _check(settings, model_id, doomed, sent.confirmation)
    await session.execute(_DESTROY, {"ids": [row.id for row in doomed], "reason": sent.reason})
    for row in doomed:
        told = {"reason": sent.reason, "ordered_for": str(model_id), "versions": row.versions}
        await session.execute(event(caller.tenant_id, row.id, "model.destroyed", by=caller.actor, **told))
        await session.execute(
            audit_entry(caller.tenant_id, caller.actor, "model.destroy", row.id, caller.request_id, **told)
        )
    return Destruction(status="destroyed", models=models)


async def _refuse_under_hold(session: AsyncSession, doomed: list[AnyRow]) -> None:
    held = await holds.in_force(session, [row.id for row in doomed])
    if held:
        names = {row.id: row.model for row in doomed}
        which = sorted({names[hold.registered_model_id] for hold in held})
        raise Conflict(
            f"A legal hold is in force on {', '.join(which)}: lift it first.",
            code="legal_hold",
            holds=[str(hold.id) for hold in held],
        )


def _confirmation(settings: Settings, model_id: uuid.UUID, doomed: list[AnyRow], expires: int) -> str:
    """For these models as they are now: what was registered or published since was not agreed to."""
    said = [str(model_id), str(expires), *(f"{row.id}/{row.head_version_id}" for row in doomed)]
    key = bytes.fromhex(settings.hash_key.get_secret_value())
    return f"{expires}.{hmac.digest(key, ' '.join(['destroy', *said]).encode(), 'sha256').hex()}"


def _check(settings: Settings, model_id: uuid.UUID, doomed: list[AnyRow], sent: str) -> None:
    expires = sent.partition(".")[0]
    if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
        raise _mismatch()
    if not hmac.compare_digest(
        _confirmation(settings, model_id, doomed, int(expires)).encode(), sent.encode()
    ):
        raise _mismatch()
    if int(expires) < time.time():
        raise Conflict(
            "The confirmation has expired; call without one to get another.", code="confirmation_expired"
        )


def _mismatch() -> Conflict:
    return Conflict(
        "The confirmation is not one for what would be destroyed now: call without one, read what it says, "
        "and send the confirmation that comes with it.",
        code="confirmation_mismatch",
    )
