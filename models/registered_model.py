"""Registered models, their tasks, the line of their versions, and the names that point into it."""

import uuid
from datetime import datetime
from typing import Any

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
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified, one_of
from models.states import ModelStatus, VersionState


class RegisteredModel(Identified, Base):
    __tablename__ = "registered_models"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(Text)
    dataset_id: Mapped[uuid.UUID]
    network: Mapped[dict[str, Any]]
    recipe: Mapped[dict[str, Any]]
    policy: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(Text, server_default=ModelStatus.AWAITING_CHECKPOINT)
    error_code: Mapped[str | None] = mapped_column(Text)
    error_detail: Mapped[str | None] = mapped_column(Text)
    # The version that the next job starts from. `latest` always points here.
    head_version_id: Mapped[uuid.UUID | None]
    # Where version 1 lies when the client named a URL instead of sending the bytes.
    checkpoint_url: Mapped[str | None] = mapped_column(Text)
    # The version, of another model, that this one was fine-tuned from: what that remembers, so does this.
    # (Later columns come last, where ALTER TABLE puts them.)
    derived_from_version_id: Mapped[uuid.UUID | None] = mapped_column(sort_order=1)
    # When it was last looked whether requests on its data set came in before it was ready; the relay gives
    # each of them a child for it.
    fanned_out_at: Mapped[datetime | None] = mapped_column(sort_order=2)
    # When its policy was last decided on, or it was destroyed; when the journal last got to know of it.
    decided_at: Mapped[datetime] = mapped_column(server_default=text("now()"), sort_order=3)
    journaled_at: Mapped[datetime | None] = mapped_column(sort_order=3)

    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "name"),
        ForeignKeyConstraint(["tenant_id", "dataset_id"], ["datasets.tenant_id", "datasets.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "id", "head_version_id"],
            ["model_versions.tenant_id", "model_versions.registered_model_id", "model_versions.id"],
            use_alter=True,
            name="fk_registered_models_head",
        ),
        ForeignKeyConstraint(
            ["tenant_id", "derived_from_version_id"],
            ["model_versions.tenant_id", "model_versions.id"],
            use_alter=True,
            name="fk_registered_models_derived_from",
        ),
        CheckConstraint(one_of("status", ModelStatus), name="status"),
        CheckConstraint("status <> 'ready' OR head_version_id IS NOT NULL", name="ready_has_head"),
        Index(
            "ix_registered_models_derived_from",
            "derived_from_version_id",
            postgresql_where=text("derived_from_version_id IS NOT NULL"),
        ),
    )


class ModelTask(Base):
    __tablename__ = "model_tasks"

    registered_model_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant_id: Mapped[uuid.UUID]
    position: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(Text)
    outputs: Mapped[int] = mapped_column(Integer)
    # Instances with supervision for this task that no published version has forgotten.
    remaining: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id"],
            ["registered_models.tenant_id", "registered_models.id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("registered_model_id", "position"),
        CheckConstraint("outputs > 0", name="outputs_positive"),
    )


class ModelVersion(Identified, Base):
    __tablename__ = "model_versions"

    tenant_id: Mapped[uuid.UUID]
    registered_model_id: Mapped[uuid.UUID]
    number: Mapped[int] = mapped_column(Integer)
    parent_id: Mapped[uuid.UUID | None]
    job_id: Mapped[uuid.UUID | None] = mapped_column(unique=True)  # at most one version per job
    artifact_id: Mapped[uuid.UUID]
    state: Mapped[str] = mapped_column(Text, server_default=VersionState.PENDING)
    guarantee: Mapped[str | None] = mapped_column(Text)
    report: Mapped[dict[str, Any] | None]
    # Versions unlearned since one was trained, itself included; 0 for one that was trained.
    empirical_steps: Mapped[int] = mapped_column(Integer, server_default=text("0"), sort_order=1)
    # Since when it is in its state: a trigger sets it. The policy's clock counts from here.
    state_since: Mapped[datetime] = mapped_column(server_default=text("now()"), sort_order=1)

    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "registered_model_id", "id"),
        UniqueConstraint("registered_model_id", "number"),
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id"],
            ["registered_models.tenant_id", "registered_models.id"],
        ),
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id", "parent_id"],
            ["model_versions.tenant_id", "model_versions.registered_model_id", "model_versions.id"],
        ),
        ForeignKeyConstraint(["tenant_id", "artifact_id"], ["artifacts.tenant_id", "artifacts.id"]),
        ForeignKeyConstraint(["tenant_id", "job_id"], ["jobs.tenant_id", "jobs.id"], use_alter=True),
        CheckConstraint(one_of("state", VersionState), name="state"),
        CheckConstraint("number > 0", name="number_positive"),
        CheckConstraint("(number = 1) = (parent_id IS NULL)", name="first_has_no_parent"),
        CheckConstraint("guarantee IN ('exact', 'empirical')", name="guarantee"),
    )


class FormerDataset(Base):
    """A snapshot that the model learned from before it was moved to a newer one."""

    __tablename__ = "former_datasets"

    registered_model_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    dataset_id: Mapped[uuid.UUID] = mapped_column(primary_key=True, index=True)
    tenant_id: Mapped[uuid.UUID]
    left_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id"], ["registered_models.tenant_id", "registered_models.id"]
        ),
        ForeignKeyConstraint(["tenant_id", "dataset_id"], ["datasets.tenant_id", "datasets.id"]),
    )


class Alias(Base):
    """`latest`, `champion`, …: a name that points at one version of a model."""

    __tablename__ = "aliases"

    registered_model_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant_id: Mapped[uuid.UUID]
    version_id: Mapped[uuid.UUID]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id", "version_id"],
            ["model_versions.tenant_id", "model_versions.registered_model_id", "model_versions.id"],
        ),
    )
