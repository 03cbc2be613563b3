"""API keys of one tenant. The statements serve the asynchronous API and the synchronous command alike."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Insert, Update, func, insert, select, update

from app.auth.keys import MintedKey
from models import APIKey, time_ordered_id

_SHOWN: tuple[Any, ...] = (
    APIKey.id,
    APIKey.public_id,
    APIKey.name,
    APIKey.scopes,
    APIKey.created_at,
    APIKey.expires_at,
    APIKey.revoked_at,
    APIKey.last_used_at,
)


def insert_key(
    tenant_id: uuid.UUID, minted: MintedKey, name: str, scopes: list[str], expires_at: datetime | None
) -> Any:
    statement: Insert = insert(APIKey).values(
        id=time_ordered_id(),
        tenant_id=tenant_id,
        public_id=minted.public_id,
        secret_sha256=minted.secret_sha256,
        name=name,
        scopes=scopes,
        expires_at=expires_at,
    )
    return statement.returning(*_SHOWN)


def keys_of(tenant_id: uuid.UUID, after: uuid.UUID | None, limit: int) -> Any:
    found = select(*_SHOWN).where(APIKey.tenant_id == tenant_id).order_by(APIKey.id.desc()).limit(limit)
    return found.where(APIKey.id < after) if after else found


def revoke_key(tenant_id: uuid.UUID, key_id: uuid.UUID) -> Any:
    """Revoking twice keeps the first time."""
    statement: Update = (
        update(APIKey)
        .where(APIKey.tenant_id == tenant_id, APIKey.id == key_id)
        .values(revoked_at=func.coalesce(APIKey.revoked_at, func.now()))
    )
    return statement.returning(*_SHOWN)
