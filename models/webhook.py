"""Receivers of webhooks, and what each of them is told of.

A trigger on `events` writes the deliveries in the transaction of the event itself: what happened and that
somebody is to be told of it are committed together, or not at all.
"""

import uuid
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified


class WebhookEndpoint(Identified, Base):
    """Where a tenant wants to be told of what happens. Its secrets are derived from the operator's key, the
    row's id and a generation: none is in the database."""

    __tablename__ = "webhook_endpoints"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))  # request.succeeded, request.*, *
    state: Mapped[str] = mapped_column(Text, server_default="enabled")
    disabled_reason: Mapped[str | None] = mapped_column(Text)  # gone, by_request
    # The secret that signs; the one before it goes on signing beside it until `previous_until`.
    secret_generation: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    previous_until: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        CheckConstraint("state IN ('enabled', 'disabled', 'deleted')", name="state"),
        CheckConstraint("(state = 'disabled') = (disabled_reason IS NOT NULL)", name="disabled_for_a_reason"),
        CheckConstraint("cardinality(events) > 0", name="wants_something"),
        Index(
            "ix_webhook_endpoints_tenant_id_id",
            "tenant_id",
            "id",
            postgresql_where=text("state <> 'deleted'"),
        ),
    )


class WebhookDelivery(Base):
    """One event for one endpoint: waiting for its next attempt, delivered, or a dead letter."""

    __tablename__ = "webhook_deliveries"

    endpoint_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("events.id"), primary_key=True, autoincrement=False
    )
    tenant_id: Mapped[uuid.UUID]
    status: Mapped[str] = mapped_column(Text, server_default="pending")
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    # Of the relay that is at it now; its time runs out at `next_attempt_at`.
    claim: Mapped[uuid.UUID | None]
    last_attempt_at: Mapped[datetime | None]
    last_status: Mapped[int | None] = mapped_column(Integer)  # of the receiver's answer
    last_error: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "endpoint_id"], ["webhook_endpoints.tenant_id", "webhook_endpoints.id"]
        ),
        CheckConstraint("status IN ('pending', 'delivered', 'dead')", name="status"),
        CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="finished"),
        Index(
            "ix_webhook_deliveries_pending",
            "endpoint_id",
            "next_attempt_at",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_webhook_deliveries_finished", "finished_at", postgresql_where=text("status <> 'pending'")),
    )
