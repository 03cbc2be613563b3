"""Webhooks and their deliveries."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct


class Webhook(Struct, frozen=True, kw_only=True):
    """`pending`: deliveries that wait for an attempt; `dead`: those that were given up."""

    id: UUID
    url: str
    description: str | None = None
    events: list[str]
    enabled: bool
    disabled_reason: str | None = None
    created_at: datetime
    previous_secret_until: datetime | None = None
    pending: int
    dead: int


class WebhookWithSecret(Webhook, frozen=True, kw_only=True):
    """`secret` signs what is sent: this answer shows it, and no other ever will."""

    secret: str

    def __repr__(self) -> str:
        return f"WebhookWithSecret(id={self.id!r}, url={self.url!r})"


class Delivery(Struct, frozen=True, kw_only=True):
    """`status`: pending, delivered or dead (given up)."""

    event: int
    type: str
    subject: UUID
    status: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = None
    last_attempt_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None


class Resent(Struct, frozen=True, kw_only=True):
    resent: int
