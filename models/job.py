"""Jobs, and each attempt at one. The lease is what lets a worker act; the fence is what stops an old one."""

import uuid
from datetime import datetime
from enum import StrEnum
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
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identified, one_of
from models.states import JOB_STATUSES, RunStatus


class JobKind(StrEnum):
    VALIDATE_DATASET = "validate_dataset"
    VALIDATE_MODEL = "validate_model"
    UNLEARN = "unlearn"


class Phase(StrEnum):
    LOADING = "loading"
    UNLEARNING = "unlearning"
    EVALUATING = "evaluating"
    PUBLISHING = "publishing"


class Job(Identified, Base):
    __tablename__ = "jobs"

    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    kind: Mapped[str] = mapped_column(Text)
    dataset_id: Mapped[uuid.UUID | None]
    registered_model_id: Mapped[uuid.UUID | None]
    method: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, server_default=RunStatus.QUEUED)
    phase: Mapped[str | None] = mapped_column(Text)
    # An open job still takes requests in; claiming closes it.
    accepts_requests: Mapped[bool] = mapped_column(server_default=text("false"))
    due_at: Mapped[datetime | None]
    not_before: Mapped[datetime] = mapped_column(server_default=text("now()"))  # back-off between attempts
    # Who may act on the job: only the holder of the current fence, until the lease runs out.
    fence: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    attempt: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    lease_expires_at: Mapped[datetime | None]
    lease_holder: Mapped[str | None] = mapped_column(Text)
    # Orders to the holder, carried in by its heartbeat.
    cancel_requested_at: Mapped[datetime | None]
    drain_requested_at: Mapped[datetime | None]
    progress: Mapped[dict[str, Any] | None]  # {"done": steps, "total": steps, "note": text}
    device: Mapped[str | None] = mapped_column(Text)
    # Of the HTTP request that opened the job: the worker logs it.
    http_request_id: Mapped[str | None] = mapped_column(Text)
    base_version_id: Mapped[uuid.UUID | None]
    # A candidate that missed a gate waits here for a person; approved_at sends it on to be published.
    candidate_artifact_id: Mapped[uuid.UUID | None]
    approved_at: Mapped[datetime | None]
    approved_by: Mapped[uuid.UUID | None]
    snapshot_artifact_id: Mapped[uuid.UUID | None]
    report: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None] = mapped_column(Text)
    error_detail: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    dispatched_at: Mapped[datetime | None]  # when the relay last sent a wake-up for it
    revision: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    # What was tried for its present requests and base, and why none of it was published.
    # The candidate and the report are those of the best of them.
    rungs: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"), sort_order=1)
    # {"decision": approved or rejected, "by": actor, "reason": text, "at": RFC 3339}
    decision: Mapped[dict[str, Any] | None] = mapped_column(sort_order=2)

    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "dataset_id"], ["datasets.tenant_id", "datasets.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id"], ["registered_models.tenant_id", "registered_models.id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "registered_model_id", "base_version_id"],
            ["model_versions.tenant_id", "model_versions.registered_model_id", "model_versions.id"],
        ),
        ForeignKeyConstraint(["tenant_id", "candidate_artifact_id"], ["artifacts.tenant_id", "artifacts.id"]),
        ForeignKeyConstraint(["tenant_id", "snapshot_artifact_id"], ["artifacts.tenant_id", "artifacts.id"]),
        ForeignKeyConstraint(["tenant_id", "approved_by"], ["api_keys.tenant_id", "api_keys.id"]),
        CheckConstraint(one_of("kind", JobKind), name="kind"),
        CheckConstraint(one_of("status", JOB_STATUSES), name="status"),
        CheckConstraint(one_of("phase", Phase), name="phase"),
        CheckConstraint(
            "(kind = 'validate_dataset') = (dataset_id IS NOT NULL)"
            " AND (kind = 'validate_dataset') = (registered_model_id IS NULL)"
            " AND (kind = 'unlearn') = (method IS NOT NULL)",
            name="names_its_subject",
        ),
        CheckConstraint(
            "(status IN ('running', 'cancelling')) = (lease_expires_at IS NOT NULL)", name="active_has_lease"
        ),
        CheckConstraint("NOT accepts_requests OR status = 'queued'", name="open_is_queued"),
        # One run at a time per registered model, so that its versions form a line. A job that waits for
        # a person holds up its line.
        Index(
            "uq_jobs_one_active_per_model",
            "registered_model_id",
            unique=True,
            postgresql_where=text("status IN ('running', 'cancelling', 'needs_review')"),
        ),
        Index(
            "uq_jobs_one_open_per_model_and_method",
            "registered_model_id",
            "method",
            unique=True,
            postgresql_where=text("accepts_requests"),
        ),
        Index("ix_jobs_queued", "due_at", "created_at", postgresql_where=text("status = 'queued'")),
        Index(
            "ix_jobs_leased",
            "lease_expires_at",
            postgresql_where=text("status IN ('running', 'cancelling')"),
        ),
        # What lists walk along: see `app.core.newest`.
        Index("ix_jobs_listed", "tenant_id", "status", "id"),
        Index("ix_jobs_dataset_id", "dataset_id", postgresql_where=text("dataset_id IS NOT NULL")),
        Index("ix_jobs_listed_by_model", "registered_model_id", "status", "id"),
    )


class Attempt(Identified, Base):
    """One claim of a job. A retry never erases the record of the attempt before."""

    __tablename__ = "attempts"

    tenant_id: Mapped[uuid.UUID]
    job_id: Mapped[uuid.UUID]
    fence: Mapped[int] = mapped_column(Integer)
    worker: Mapped[str] = mapped_column(Text)
    device: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[datetime | None]
    # succeeded, failed, cancelled, needs_review, lease_lost, released
    outcome: Mapped[str | None] = mapped_column(Text)
    error_code: Mapped[str | None] = mapped_column(Text)
    error_detail: Mapped[str | None] = mapped_column(Text)
    # What it tried to the end, in order: what was measured, and why that was not published.
    rungs: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"), sort_order=1)

    __table_args__ = (
        UniqueConstraint("job_id", "fence"),
        ForeignKeyConstraint(["tenant_id", "job_id"], ["jobs.tenant_id", "jobs.id"]),
    )
