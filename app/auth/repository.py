"""API keys of one tenant. The statements serve the asynchronous API and the synchronous command alike."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Insert, Update, func, insert, literal_column, or_, select, update

from app.auth.keys import MintedKey
from app.core.naming import as_id, is_name
from models import APIKey, RegisteredModel, time_ordered_id
from models.states import ModelStatus

# In words of SQL, because of RETURNING: the row that is inserted is in no table that a subquery could read.
_MODELS: ColumnElement[list[str] | None] = literal_column(
    "(SELECT array_agg(model.name ORDER BY model.name) FROM registered_models AS model"
    " WHERE model.tenant_id = api_keys.tenant_id AND model.id = ANY (api_keys.model_ids))"
)
_SHOWN: tuple[Any, ...] = (
    APIKey.id,
    APIKey.public_id,
    APIKey.name,
    APIKey.scopes,
    _MODELS.label("models"),
    APIKey.created_at,
    APIKey.expires_at,
    APIKey.revoked_at,
    APIKey.last_used_at,
    APIKey.rotated_from_id.label("rotated_from"),
    APIKey.made_by_id.label("made_by"),
)


def insert_key(
    tenant_id: uuid.UUID,
    minted: MintedKey,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
    model_ids: Sequence[uuid.UUID] | None = None,
    *,
    rotated_from_id: uuid.UUID | None = None,
    made_by_id: uuid.UUID | None,
) -> Any:
    """`made_by_id`: the key that asks for it; None: the operator."""
    statement: Insert = insert(APIKey).values(
        id=time_ordered_id(),
        tenant_id=tenant_id,
        public_id=minted.public_id,
        secret_sha256=minted.secret_sha256,
        name=name,
        scopes=list(scopes),
        expires_at=expires_at,
        model_ids=None if model_ids is None else list(model_ids),
        rotated_from_id=rotated_from_id,
        made_by_id=made_by_id,
    )
    return statement.returning(*_SHOWN)


def insert_successor(
    tenant_id: uuid.UUID,
    minted: MintedKey,
    old: Any,
    expires_at: datetime | None,
    made_by_id: uuid.UUID | None,
) -> Any:
    """With the name, scopes and models of `old`, whose place it takes: as `hold_key` reads it."""
    return insert_key(
        tenant_id,
        minted,
        old.name,
        old.scopes,
        expires_at,
        old.model_ids,
        rotated_from_id=old.id,
        made_by_id=made_by_id,
    )


def keys_of(tenant_id: uuid.UUID, after: uuid.UUID | None, limit: int) -> Any:
    found = select(*_SHOWN).where(APIKey.tenant_id == tenant_id).order_by(APIKey.id.desc()).limit(limit)
    return found.where(APIKey.id < after) if after else found


def hold_key(tenant_id: uuid.UUID, key_id: uuid.UUID) -> Any:
    """The key as it is kept, locked: nobody revokes it meanwhile. `lifetime`: what it was given."""
    return (
        select(
            APIKey.id,
            APIKey.name,
            APIKey.scopes,
            APIKey.model_ids,
            (APIKey.expires_at - APIKey.created_at).label("lifetime"),
            or_(APIKey.revoked_at.is_not(None), func.coalesce(APIKey.expires_at <= func.now(), False)).label(
                "ended"
            ),
        )
        .where(APIKey.tenant_id == tenant_id, APIKey.id == key_id)
        .with_for_update(key_share=True)
    )


def end_key(tenant_id: uuid.UUID, key_id: uuid.UUID, at: datetime) -> Any:
    """It expires then, unless it does so before."""
    return (
        update(APIKey)
        .where(APIKey.tenant_id == tenant_id, APIKey.id == key_id)
        .values(expires_at=func.least(APIKey.expires_at, at))
    )


def revoke_key(tenant_id: uuid.UUID, key_id: uuid.UUID) -> Any:
    """Revoking twice keeps the first time."""
    statement: Update = (
        update(APIKey)
        .where(APIKey.tenant_id == tenant_id, APIKey.id == key_id)
        .values(revoked_at=func.coalesce(APIKey.revoked_at, func.now()))
    )
    return statement.returning(*_SHOWN)


def models_named(tenant_id: uuid.UUID, names: Sequence[str]) -> Any:
    """By name or id; destroyed ones are none."""
    ids = [found for name in names if (found := as_id(name)) is not None]
    return select(RegisteredModel.id, RegisteredModel.name).where(
        RegisteredModel.tenant_id == tenant_id,
        RegisteredModel.status != ModelStatus.DESTROYED,
        or_(RegisteredModel.name.in_([name for name in names if is_name(name)]), RegisteredModel.id.in_(ids)),
    )
