"""Stored bytes. The row is written before the bytes and the digest after them."""

import uuid

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified, one_of
from models.states import ArtifactState


class Artifact(Identified, Base):
    __tablename__ = "artifacts"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    kind: Mapped[str] = mapped_column(Text)  # checkpoint, snapshot
    path: Mapped[str] = mapped_column(Text, unique=True)  # tenant/kind/id below the storage URL
    state: Mapped[str] = mapped_column(Text, server_default=ArtifactState.PENDING)
    sha256: Mapped[bytes | None]
    size: Mapped[int | None] = mapped_column(BigInteger)  # bytes
    job_id: Mapped[uuid.UUID | None]  # the run that wrote it, for the sweep of what no one claims
    # Of encrypted bytes: the id of the key store that holds their key. None: they are stored as they are.
    key_store: Mapped[str | None] = mapped_column(Text, sort_order=1)

    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        CheckConstraint(one_of("state", ArtifactState), name="state"),
        CheckConstraint(
            "state <> 'stored' OR (octet_length(sha256) = 32 AND size >= 0)", name="stored_has_digest"
        ),
    )
