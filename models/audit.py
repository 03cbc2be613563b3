"""Who did what. Rows are only ever inserted; no role but the owner may change or remove one.

Rows are written unchained, each in the transaction of what it tells of. A trigger notes them in
`audit_unsealed` in that same transaction; the relay's sealer takes them from there, whenever they come to
be committed, and gives each its place in its tenant's hash chain.
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class AuditEntry(Base):
    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    actor: Mapped[str] = mapped_column(Text)  # key:<public id>, worker:<name>, relay, operator
    action: Mapped[str] = mapped_column(Text)  # such as deletion_request.create
    subject_id: Mapped[uuid.UUID | None]
    request_id: Mapped[str | None] = mapped_column(Text)  # of the HTTP request
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))

    __table_args__ = (Index("ix_audit_log_tenant_id_id", "tenant_id", "id"),)


class UnsealedAuditEntry(Base):
    """A committed row of the audit log that the sealer has not chained yet. Ids are handed out before
    transactions commit, so "greater than the last one sealed" would miss those that commit late."""

    __tablename__ = "audit_unsealed"

    entry_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class AuditSeal(Base):
    """The place of a row in its tenant's chain: `hash` covers the row, the position and `previous`."""

    __tablename__ = "audit_seals"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # from 1
    entry_id: Mapped[int] = mapped_column(ForeignKey("audit_log.id"), unique=True)
    previous: Mapped[bytes]
    hash: Mapped[bytes]
    sealed_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))

    __table_args__ = (
        CheckConstraint("position > 0", name="position"),
        CheckConstraint("octet_length(hash) = 32 AND octet_length(previous) = 32", name="hashes"),
    )


class AuditCheckpoint(Base):
    """A signature under a tenant's chain up to a position. `envelope`: DSSE, in canonical JSON."""

    __tablename__ = "audit_checkpoints"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    envelope: Mapped[str] = mapped_column(Text)
    key_id: Mapped[str] = mapped_column(ForeignKey("signing_keys.key_id"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
