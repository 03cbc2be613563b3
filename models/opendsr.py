"""Requests that came in by OpenDSR, whom to call back about them, and the instances of identities."""

import uuid
from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified

UNJOURNALED = "journaled_at IS NULL AND stub_status IS NULL"


class OpenDSRRequest(Identified, Base):
    """A door onto a deletion request, whose status is its own. Without one it found nothing to forget, or is
    a stub. Neither identities nor the body are kept."""

    __tablename__ = "opendsr_requests"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    subject_request_id: Mapped[uuid.UUID]  # the controller's
    regulation: Mapped[str] = mapped_column(Text)
    api_version: Mapped[str] = mapped_column(Text)
    submitted_at: Mapped[datetime]
    expected_at: Mapped[datetime]
    instance_count: Mapped[int] = mapped_column(Integer)
    deletion_request_id: Mapped[uuid.UUID | None]
    stub_status: Mapped[str | None] = mapped_column(Text)
    body_digest: Mapped[bytes]  # keyed: the same body again is the same request
    # When the storage's journal got to know of it.
    journaled_at: Mapped[datetime | None] = mapped_column(sort_order=1)

    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "subject_request_id"),
        ForeignKeyConstraint(
            ["tenant_id", "deletion_request_id"], ["deletion_requests.tenant_id", "deletion_requests.id"]
        ),
        CheckConstraint(
            "stub_status IN ('pending', 'in_progress', 'completed', 'cancelled')", name="stub_status"
        ),
        CheckConstraint("stub_status IS NULL OR deletion_request_id IS NULL", name="stubs_delete_nothing"),
        Index("ix_opendsr_requests_unjournaled", "id", postgresql_where=text(UNJOURNALED)),
    )


class OpenDSRCallback(Identified, Base):
    """A URL that is told of the request's status whenever it is another than the one it was told last."""

    __tablename__ = "opendsr_callbacks"

    tenant_id: Mapped[uuid.UUID]
    opendsr_request_id: Mapped[uuid.UUID]
    url: Mapped[str] = mapped_column(Text)
    told_status: Mapped[str | None] = mapped_column(Text)
    # Of the status that is being told now.
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    claim: Mapped[uuid.UUID | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    given_up_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "opendsr_request_id"], ["opendsr_requests.tenant_id", "opendsr_requests.id"]
        ),
        Index("ix_opendsr_callbacks_opendsr_request_id", "opendsr_request_id"),
        Index(
            "ix_opendsr_callbacks_open",
            "next_attempt_at",
            postgresql_where=text(
                "given_up_at IS NULL AND"
                " (told_status IS NULL OR told_status NOT IN ('completed', 'cancelled'))"
            ),
        ),
    )


class IdentityInstance(Base):
    """An instance that an identity stands for. Both as keyed hashes: neither is kept itself."""

    __tablename__ = "identity_instances"

    dataset_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    identity_hash: Mapped[bytes] = mapped_column(primary_key=True)
    instance_hash: Mapped[bytes] = mapped_column(primary_key=True)
    tenant_id: Mapped[uuid.UUID]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "dataset_id"], ["datasets.tenant_id", "datasets.id"], ondelete="CASCADE"
        ),
    )
