"""Tenants, and the API keys that speak for them."""

import uuid
from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified


class Tenant(Identified, Base):
    __tablename__ = "tenants"

    name: Mapped[str] = mapped_column(Text, unique=True)
    # URLs under which this tenant's data and checkpoints may lie, as the operator listed them.
    allowed_roots: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    # When a job of this tenant was last claimed: whose turn it is among equals.
    last_claimed_at: Mapped[datetime | None]
    # Instances that may be asked to be forgotten in a day without a person's word; None: as set for all.
    instances_per_day: Mapped[int | None] = mapped_column(Integer, sort_order=1)


class APIKey(Identified, Base):
    """`lethe_<public_id>_<secret>`; of the secret only its SHA-256 is kept."""

    __tablename__ = "api_keys"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), index=True)
    public_id: Mapped[str] = mapped_column(Text, unique=True)
    secret_sha256: Mapped[bytes]
    name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    # The models that it is limited to; None: all of the tenant's, also those that are registered later.
    # (Later columns come last, where ALTER TABLE puts them.)
    model_ids: Mapped[list[uuid.UUID] | None] = mapped_column(ARRAY(Uuid(as_uuid=True)), sort_order=1)
    # The key that this one took the place of.
    rotated_from_id: Mapped[uuid.UUID | None] = mapped_column(sort_order=2)
    # The key that asked for this one; None: the operator's command, or before it was noted.
    made_by_id: Mapped[uuid.UUID | None] = mapped_column(sort_order=3)

    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "rotated_from_id"], ["api_keys.tenant_id", "api_keys.id"]),
        ForeignKeyConstraint(["tenant_id", "made_by_id"], ["api_keys.tenant_id", "api_keys.id"]),
        CheckConstraint("model_ids <> '{}'", name="limited_to_something"),
        CheckConstraint("octet_length(secret_sha256) = 32", name="secret_is_a_digest"),
    )
