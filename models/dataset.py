"""Training data that a client registered by URL, and the index of its instances as keyed hashes."""

import uuid
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified, one_of
from models.states import DatasetStatus


class Dataset(Identified, Base):
    __tablename__ = "datasets"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(Text)
    format: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    holdout_url: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, server_default=DatasetStatus.VALIDATING)
    error_code: Mapped[str | None] = mapped_column(Text)
    error_detail: Mapped[str | None] = mapped_column(Text)
    # What validation found: SHA-256 of the contents, counts, and the targets in the order of the bits
    # of `dataset_instances.supervised`.
    fingerprint: Mapped[str | None] = mapped_column(Text)
    holdout_fingerprint: Mapped[str | None] = mapped_column(Text)
    instance_count: Mapped[int | None] = mapped_column(BigInteger)
    holdout_count: Mapped[int | None] = mapped_column(BigInteger)
    targets: Mapped[list[Any] | None]
    hash_key_id: Mapped[str | None] = mapped_column(Text)
    # The snapshot of the same data that this one takes the place of: rows were deleted at the source since.
    refreshes_id: Mapped[uuid.UUID | None] = mapped_column(sort_order=1)

    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "name"),
        ForeignKeyConstraint(["tenant_id", "refreshes_id"], ["datasets.tenant_id", "datasets.id"]),
        Index("ix_datasets_refreshes_id", "refreshes_id", postgresql_where=text("refreshes_id IS NOT NULL")),
        CheckConstraint(one_of("status", DatasetStatus), name="status"),
        CheckConstraint(
            "status <> 'ready' OR (fingerprint IS NOT NULL AND instance_count > 0 AND targets IS NOT NULL)",
            name="ready_is_described",
        ),
    )


class DatasetInstance(Base):
    """One instance of a data set. Its id itself is not kept, only its keyed hash."""

    __tablename__ = "dataset_instances"

    dataset_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    instance_hash: Mapped[bytes] = mapped_column(primary_key=True)
    tenant_id: Mapped[uuid.UUID]
    position: Mapped[int] = mapped_column(BigInteger)  # row in the data
    supervised: Mapped[int] = mapped_column(BigInteger)  # bit k: target k of the data set is present

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "dataset_id"], ["datasets.tenant_id", "datasets.id"], ondelete="CASCADE"
        ),
        UniqueConstraint("dataset_id", "position"),
    )
