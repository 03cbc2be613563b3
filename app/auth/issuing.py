"""Making, rotating and limiting keys: what an administrator over HTTP and the operator's command share.

Everything is decided here and nothing is executed, so that both kinds of sessions can be used.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Insert

from app.auth.keys import OF_MODELS, Scope
from app.core.audit import event
from app.core.errors import Conflict, InvalidInput, NotFound
from app.core.naming import as_id
from app.core.rows import AnyRow

LONGEST_OVERLAP_HOURS = 720
OVERLAP_HOURS = 24


def expiry(days: int | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def limited_to(names: Sequence[str], found: Iterable[AnyRow], scopes: Iterable[str]) -> list[UUID]:
    """The ids of the models that a key is limited to. Raises `NotFound` and `InvalidInput`."""
    refuse_wider_scopes(scopes)
    rows = list(found)
    known = {row.name for row in rows} | {row.id for row in rows}
    unknown = [name for name in names if name not in known and as_id(name) not in known]
    if unknown:
        raise NotFound(f"There is no model {unknown[0]!r} to limit the key to.", code="model_not_found")
    return sorted(row.id for row in rows)


def refuse_wider_scopes(scopes: Iterable[str]) -> None:
    """Raises `InvalidInput`."""
    wider = sorted(set(scopes) - OF_MODELS)
    if wider:
        raise InvalidInput(
            f"A key that is limited to models cannot have the scope {wider[0]}, which is about more than "
            f"models; it can have {', '.join(scope for scope in Scope if scope in OF_MODELS)}.",
            code="scope_not_of_models",
        )


def refuse_ended(key: AnyRow) -> None:
    """Raises `Conflict`."""
    if key.ended:
        raise Conflict(
            "This API key has been revoked or has expired: make a new one instead.", code="api_key_ended"
        )


def renewed_expiry(key: AnyRow, days: int | None) -> datetime | None:
    """As was asked, or else for as long as the key that is rotated was made for."""
    if days is not None:
        return expiry(days)
    return None if key.lifetime is None else datetime.now(UTC) + key.lifetime


def announcement(tenant_id: UUID, made: AnyRow) -> Insert:
    """What tells webhooks of a new key, and so the other administrators: until it may approve of what its
    maker asked for, they can revoke it."""
    links = {"made_by": made.made_by, "rotated_from": made.rotated_from}
    told = {name: str(key_id) for name, key_id in links.items() if key_id is not None}
    return event(tenant_id, made.id, "api_key.created", scopes=made.scopes, **told)


def end_of_overlap(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)
