"""API keys as the operator makes, rotates, revokes and lists them, over all tenants.

The session is one of the API's role, which sees one tenant at a time: it is told which. The caller commits.
"""

import uuid
from collections.abc import Iterator, Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.auth import issuing, repository
from app.auth.keys import MintedKey, Scope, mint_key
from app.core.audit import audit_entry
from app.core.rows import AnyRow
from app.core.sight import Sight, give_sight

OPERATOR = "operator"
_TENANT = text("SELECT id FROM names_of_tenants() WHERE name = :name")
_TENANTS = text("SELECT id, name FROM names_of_tenants() ORDER BY name")
_KEYS = text(
    "SELECT public_id, name, array_to_string(scopes, ',') AS scopes,"
    " CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired'"
    " ELSE 'active' END AS state,"
    " coalesce((SELECT string_agg(model.name, ',' ORDER BY model.name) FROM registered_models AS model"
    " WHERE model.id = ANY(model_ids)), 'all models') AS models,"
    " coalesce(to_char(last_used_at, 'YYYY-MM-DD'), 'never used') AS used,"
    " coalesce(to_char(expires_at, 'YYYY-MM-DD'), 'no expiry') AS expires"
    " FROM api_keys WHERE tenant_id = :tenant ORDER BY id"
)
_KEY = text("SELECT id, tenant_id, revoked_at FROM find_api_key(:public_id)")


class Refused(ValueError):
    """A command that cannot be carried out; the sentence says what to do instead."""


def create_key(
    session: Session,
    tenant: str,
    name: str,
    scopes: Sequence[str],
    expires_days: int | None = None,
    models: Sequence[str] = (),
) -> MintedKey:
    """A new key of that tenant, of all of its models or of those named; its text exists nowhere else."""
    unknown = sorted(set(scopes) - {str(scope) for scope in Scope})
    if unknown or not scopes:
        raise Refused(
            f"Scopes must be among {', '.join(Scope)}; not {', '.join(unknown) or 'an empty list'}."
        )
    tenant_id = find_tenant(session, tenant)
    minted = mint_key()
    listed = sorted(set(scopes))
    model_ids = None
    if models:
        found = session.execute(repository.models_named(tenant_id, models)).all()
        model_ids = issuing.limited_to(models, found, listed)
    expires_at = issuing.expiry(expires_days)
    made = session.execute(
        repository.insert_key(tenant_id, minted, name, listed, expires_at, model_ids, made_by_id=None)
    ).one()
    session.execute(issuing.announcement(tenant_id, made))
    session.execute(
        audit_entry(tenant_id, OPERATOR, "api_key.create", made.id, scopes=listed, models=made.models)
    )
    return minted


def rotate_key(
    session: Session, public_id: str, overlap_hours: float, expires_days: int | None = None
) -> MintedKey:
    """A key in the place of another, which goes on opening for so many hours."""
    found = _find_key(session, public_id)
    old = session.execute(repository.hold_key(found.tenant_id, found.id)).one()
    issuing.refuse_ended(old)
    minted = mint_key()
    expires_at = issuing.renewed_expiry(old, expires_days)
    made = session.execute(
        repository.insert_successor(found.tenant_id, minted, old, expires_at, made_by_id=None)
    ).one()
    session.execute(issuing.announcement(found.tenant_id, made))
    session.execute(repository.end_key(found.tenant_id, old.id, issuing.end_of_overlap(overlap_hours)))
    session.execute(
        audit_entry(
            found.tenant_id,
            OPERATOR,
            "api_key.rotate",
            old.id,
            to=str(made.id),
            overlap_hours=overlap_hours,
        )
    )
    return minted


def revoke_key(session: Session, public_id: str) -> None:
    """Revoke the key at once; a revoked key stays revoked."""
    key = _find_key(session, public_id)
    if key.revoked_at is None:
        session.execute(repository.revoke_key(key.tenant_id, key.id))
        session.execute(audit_entry(key.tenant_id, OPERATOR, "api_key.revoke", key.id))


def _find_key(session: Session, public_id: str) -> AnyRow:
    """As `find_tenant`, by a key."""
    key = session.execute(_KEY, {"public_id": public_id}).one_or_none()
    if key is None:
        raise Refused(f"There is no key with the public id {public_id}; list-keys shows them.")
    give_sight(session, Sight(key.tenant_id))
    return key


def find_tenant(session: Session, name: str) -> uuid.UUID:
    """From here on the session sees that tenant's rows, and no others. Raises `Refused`."""
    found: uuid.UUID | None = session.scalar(_TENANT, {"name": name})
    if found is None:
        raise Refused(f"There is no tenant named {name}; create-tenant makes one.")
    give_sight(session, Sight(found))
    return found


def keys_of_all_tenants(session: Session) -> Iterator[Sequence[str]]:
    """Tenant, public id, name, scopes, state, models, day of the last use, day of the end."""
    for tenant in session.execute(_TENANTS).all():
        give_sight(session, Sight(tenant.id))
        for row in session.execute(_KEYS, {"tenant": tenant.id}):
            yield tenant.name, *row
