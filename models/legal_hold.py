"""Legal holds: what a court or an authority wants kept is not deleted by any clock."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified


class LegalHold(Identified, Base):
    """On one version, or, without one, on a registered model with all its versions."""

    __tablename__ = "legal_holds"

    tenant_id: Mapped[uuid.UUID]
    registered_model_id: Mapped[uuid.UUID]
    version_id: Mapped[uuid.UUID | None]
    reason: Mapped[str] = mapped_column(Text)
    placed_by: Mapped[str] = mapped_column(Text)  # as the audit log names who did it
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None] = mapped_column(Text)
    lift_reason: Mapped[str | None] = mapped_column(Text)
    # When the storage's journal last got to know of it.
    journaled_at: Mapped[datetime | None] = mapped_column(sort_order=1)

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id"], ["registered_models.tenant_id", "registered_models.id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id", "version_id"],
            ["model_versions.tenant_id", "model_versions.registered_model_id", "model_versions.id"],
        ),
        CheckConstraint("(lifted_at IS NULL) = (lifted_by IS NULL)", name="lifted_by_somebody"),
        Index("ix_legal_holds_registered_model_id", "registered_model_id"),
        Index(
            "uq_legal_holds_in_force",
            "registered_model_id",
            text("coalesce(version_id, registered_model_id)"),
            unique=True,
            postgresql_where=text("lifted_at IS NULL"),
        ),
    )
