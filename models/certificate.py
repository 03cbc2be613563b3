"""Signed statements about deletion requests, and the public keys that they can be checked with."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Text, UniqueConstraint, text
from sqlalchemy import ForeignKey as References
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified


class SigningKey(Base):
    """The public half of a key that has signed something. Private keys never reach the database."""

    __tablename__ = "signing_keys"

    key_id: Mapped[str] = mapped_column(Text, primary_key=True)
    algorithm: Mapped[str] = mapped_column(Text)
    public_key: Mapped[str] = mapped_column(Text)  # PEM, SubjectPublicKeyInfo
    first_used_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Certificate(Identified, Base):
    """`envelope` is the DSSE envelope in canonical JSON, byte for byte as it is handed out."""

    __tablename__ = "certificates"

    tenant_id: Mapped[uuid.UUID]
    deletion_request_id: Mapped[uuid.UUID]
    # The version by which the request was done; none for a request on a data set, whose parts have theirs.
    registered_model_id: Mapped[uuid.UUID | None]
    version_id: Mapped[uuid.UUID | None]
    kind: Mapped[str] = mapped_column(Text)
    envelope: Mapped[str] = mapped_column(Text)
    key_id: Mapped[str] = mapped_column(References("signing_keys.key_id"))

    __table_args__ = (
        UniqueConstraint("deletion_request_id", "kind", "version_id"),
        ForeignKeyConstraint(
            ["tenant_id", "deletion_request_id"], ["deletion_requests.tenant_id", "deletion_requests.id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id", "version_id"],
            ["model_versions.tenant_id", "model_versions.registered_model_id", "model_versions.id"],
        ),
        CheckConstraint("kind IN ('unlearning', 'disposal', 'parts')", name="kind"),
        CheckConstraint(
            "(kind = 'parts') = (version_id IS NULL) AND (kind = 'parts') = (registered_model_id IS NULL)",
            name="of_a_version",
        ),
    )
