"""Deletion requests, the instances they name, lists sent ahead, and the ledger of what was forgotten."""

import uuid
from datetime import datetime
from typing import Any

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
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified, one_of
from models.states import RunStatus

UNJOURNALED = "status IS NOT NULL AND journaled_at IS NULL"


class InstanceList(Identified, Base):
    """Instances sent ahead of the requests that name them. Raw ids are not kept."""

    __tablename__ = "instance_lists"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    instance_count: Mapped[int] = mapped_column(Integer)
    hash_key_id: Mapped[str] = mapped_column(Text)

    __table_args__ = (UniqueConstraint("tenant_id", "id"),)


class InstanceListItem(Base):
    __tablename__ = "instance_list_items"

    instance_list_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    instance_hash: Mapped[bytes] = mapped_column(primary_key=True)
    tenant_id: Mapped[uuid.UUID]
    position: Mapped[int] = mapped_column(Integer)  # in the list as it was sent, from 0

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "instance_list_id"],
            ["instance_lists.tenant_id", "instance_lists.id"],
            ondelete="CASCADE",
        ),
    )


class DeletionRequest(Identified, Base):
    """Supervision to forget. A request on a data set has no model and no status of its own: its
    children, one per registered model, have them."""

    __tablename__ = "deletion_requests"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    parent_id: Mapped[uuid.UUID | None]
    dataset_id: Mapped[uuid.UUID]
    registered_model_id: Mapped[uuid.UUID | None]
    job_id: Mapped[uuid.UUID | None]
    api_key_id: Mapped[uuid.UUID | None]
    tasks: Mapped[list[str]] = mapped_column(ARRAY(Text))
    scope: Mapped[str] = mapped_column(Text)  # full, partial
    method: Mapped[str] = mapped_column(Text)
    instance_count: Mapped[int] = mapped_column(Integer)
    already_forgotten: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    hash_key_id: Mapped[str] = mapped_column(Text)
    http_request_id: Mapped[str | None] = mapped_column(Text)
    reference: Mapped[str | None] = mapped_column(Text)
    regulation: Mapped[str | None] = mapped_column(Text)
    # "metadata" is taken by SQLAlchemy's declarative classes.
    client_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'"))
    due_at: Mapped[datetime | None]
    status: Mapped[str | None] = mapped_column(Text)
    cancel_requested_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    result_version_id: Mapped[uuid.UUID | None]
    error_code: Mapped[str | None] = mapped_column(Text)
    error_detail: Mapped[str | None] = mapped_column(Text)
    # Counts changes, for the weak ETag that pollers send back.
    revision: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    # The version that the newest certificate is about; the relay makes another when the result differs.
    # (Later columns come last, where ALTER TABLE puts them.)
    certified_version_id: Mapped[uuid.UUID | None] = mapped_column(sort_order=1)
    # By when the person is to be told of the receipt, and when they were.
    acknowledge_by: Mapped[datetime | None] = mapped_column(sort_order=2)
    acknowledged_at: Mapped[datetime | None] = mapped_column(sort_order=3)
    extension: Mapped[dict[str, Any] | None] = mapped_column(sort_order=4)  # see its schema
    # Raised already: acknowledge_soon, acknowledge_passed, due_soon, due_passed.
    alarms: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", sort_order=5)
    # When the storage's journal got to know of it: what a restored database is brought up to date with.
    # Cleared by whoever cancels the request, because the journal has to know of that as well. (A comparison
    # with finished_at would not do: that is when the cancelling transaction began, not when others see it.)
    journaled_at: Mapped[datetime | None] = mapped_column(sort_order=6)
    # The least that was asked for: empirical, or exact, which only retraining gives.
    guarantee: Mapped[str] = mapped_column(Text, server_default="empirical", sort_order=7)
    # Why it waits for a person's word, or waited: {"reasons": [...]}, and once that was given also
    # "decision", "by", "reason" and "at". None: it may go without.
    approval: Mapped[dict[str, Any] | None] = mapped_column(sort_order=8)
    # A person's word begins the counts anew: what is taken from the model is counted from the last one on.
    approved_at: Mapped[datetime | None] = mapped_column(sort_order=9)

    # Of a request on a data set: when it was last stated which parts it has. Cleared by whoever adds or
    # reopens a part.
    bundled_at: Mapped[datetime | None] = mapped_column(sort_order=10)

    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(
            ["tenant_id", "parent_id"], ["deletion_requests.tenant_id", "deletion_requests.id"]
        ),
        ForeignKeyConstraint(["tenant_id", "dataset_id"], ["datasets.tenant_id", "datasets.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id"], ["registered_models.tenant_id", "registered_models.id"]
        ),
        ForeignKeyConstraint(["tenant_id", "job_id"], ["jobs.tenant_id", "jobs.id"]),
        ForeignKeyConstraint(["tenant_id", "api_key_id"], ["api_keys.tenant_id", "api_keys.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id", "result_version_id"],
            ["model_versions.tenant_id", "model_versions.registered_model_id", "model_versions.id"],
        ),
        CheckConstraint(one_of("status", RunStatus), name="status"),
        CheckConstraint("scope IN ('full', 'partial')", name="scope"),
        CheckConstraint("(registered_model_id IS NULL) = (status IS NULL)", name="status_of_the_children"),
        CheckConstraint("instance_count > 0 AND cardinality(tasks) > 0", name="names_something"),
        # No worker can claim what has no job.
        CheckConstraint(
            "status <> 'awaiting_approval' OR (job_id IS NULL AND approval IS NOT NULL)",
            name="waits_without_a_job",
        ),
        CheckConstraint(
            "approval IS NULL OR approved_at IS NOT NULL"
            " OR status IN ('awaiting_approval', 'failed', 'cancelled')",
            name="has_the_word_it_needs",
        ),
        # What lists walk along (`app.core.newest`): of a tenant, of a model, with a reference; and
        # requests on data sets, which have no status, by themselves and by what their children are at.
        Index(
            "ix_deletion_requests_listed",
            "tenant_id",
            "status",
            "id",
            postgresql_where=text("parent_id IS NULL AND status IS NOT NULL"),
        ),
        Index(
            "ix_deletion_requests_listed_by_model",
            "registered_model_id",
            "status",
            "id",
            postgresql_where=text("registered_model_id IS NOT NULL"),
        ),
        Index(
            "ix_deletion_requests_listed_by_reference",
            "tenant_id",
            "reference",
            "status",
            "id",
            postgresql_where=text("status IS NOT NULL AND reference IS NOT NULL"),
        ),
        Index(
            "ix_deletion_requests_listed_on_data_sets",
            "tenant_id",
            "id",
            postgresql_where=text("status IS NULL"),
        ),
        Index(
            "ix_deletion_requests_listed_on_data_sets_by_reference",
            "tenant_id",
            "reference",
            "id",
            postgresql_where=text("status IS NULL AND reference IS NOT NULL"),
        ),
        Index(
            "ix_deletion_requests_listed_by_children",
            "tenant_id",
            "status",
            "parent_id",
            postgresql_where=text("parent_id IS NOT NULL"),
        ),
        Index("ix_deletion_requests_job_id", "job_id"),
        Index(
            "uq_deletion_requests_one_child_per_model",
            "parent_id",
            "registered_model_id",
            unique=True,
            postgresql_where=text("parent_id IS NOT NULL"),
        ),
        Index(
            "ix_deletion_requests_on_datasets",
            "dataset_id",
            postgresql_where=text("registered_model_id IS NULL"),
        ),
        Index(
            "ix_deletion_requests_unsettled",
            "registered_model_id",
            postgresql_where=text("status NOT IN ('succeeded', 'failed', 'cancelled')"),
        ),
        Index(
            "ix_deletion_requests_sent_with_dates",
            "due_at",
            postgresql_where=text(
                "parent_id IS NULL AND due_at IS NOT NULL AND (status IS NULL OR status NOT IN ('succeeded',"
                " 'failed', 'cancelled'))"
            ),
        ),
        Index(
            "ix_deletion_requests_uncertified",
            "finished_at",
            postgresql_where=text(
                "status = 'succeeded' AND certified_version_id IS DISTINCT FROM result_version_id"
            ),
        ),
        Index(
            "ix_deletion_requests_unbundled",
            "id",
            postgresql_where=text("registered_model_id IS NULL AND bundled_at IS NULL"),
        ),
        Index("ix_deletion_requests_unjournaled", "id", postgresql_where=text(UNJOURNALED)),
        Index("ix_deletion_requests_of_models", "registered_model_id", "created_at"),
        Index(
            "ix_deletion_requests_approved",
            "registered_model_id",
            "approved_at",
            postgresql_where=text("approved_at IS NOT NULL"),
        ),
    )


class DeletionRequestItem(Base):
    """One instance that a request names; the tasks are the request's."""

    __tablename__ = "deletion_request_items"

    deletion_request_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    instance_hash: Mapped[bytes] = mapped_column(primary_key=True)
    tenant_id: Mapped[uuid.UUID]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "deletion_request_id"],
            ["deletion_requests.tenant_id", "deletion_requests.id"],
            ondelete="CASCADE",
        ),
    )


class ForgottenSupervision(Base):
    """The ledger: (instance, task) pairs that no later run may learn from, retraining included.

    `version_id` is the version that first behaved without them. It is cleared when an administrator
    moves the model back to a version that still remembers.
    """

    __tablename__ = "forgotten_supervision"

    registered_model_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    instance_hash: Mapped[bytes] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant_id: Mapped[uuid.UUID]
    deletion_request_id: Mapped[uuid.UUID] = mapped_column(index=True)
    version_id: Mapped[uuid.UUID | None]
    hash_key_id: Mapped[str] = mapped_column(Text)
    forgotten_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id"], ["registered_models.tenant_id", "registered_models.id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "deletion_request_id"], ["deletion_requests.tenant_id", "deletion_requests.id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id", "version_id"],
            ["model_versions.tenant_id", "model_versions.registered_model_id", "model_versions.id"],
        ),
    )
