"""API keys, and the keys that the service signs with."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct


class SigningKey(Struct, frozen=True, kw_only=True):
    key_id: str
    algorithm: str
    public_key: str
    first_used_at: datetime


class APIKey(Struct, frozen=True, kw_only=True):
    id: UUID
    public_id: str
    name: str
    scopes: list[str]
    models: list[str] | None = None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    rotated_from: UUID | None = None
    made_by: UUID | None = None


class CreatedAPIKey(APIKey, frozen=True, kw_only=True):
    """`key` is the key itself: this answer shows it, and no other ever will."""

    key: str

    def __repr__(self) -> str:
        return f"CreatedAPIKey(public_id={self.public_id!r}, name={self.name!r})"
