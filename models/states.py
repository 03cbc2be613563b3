"""The states of things and the only moves between them.

The same tables are enforced twice: `refuse_illegal` for a good error message, and in the database by
the trigger `enforce_transition`, which reads them from the table `state_transitions`.
"""

from collections.abc import Mapping
from enum import StrEnum


class DatasetStatus(StrEnum):
    VALIDATING = "validating"
    READY = "ready"
    REJECTED = "rejected"


class ModelStatus(StrEnum):
    AWAITING_CHECKPOINT = "awaiting_checkpoint"
    VALIDATING = "validating"
    READY = "ready"
    REJECTED = "rejected"
    DESTROYED = "destroyed"


class VersionState(StrEnum):
    PENDING = "pending"
    REJECTED = "rejected"
    PUBLISHED = "published"
    SUPERSEDED = "superseded"
    QUARANTINED = "quarantined"
    DELETED = "deleted"


class RunStatus(StrEnum):
    """Of jobs and of deletion requests alike; only requests wait for an approval."""

    AWAITING_APPROVAL = "awaiting_approval"

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NEEDS_REVIEW = "needs_review"


class ArtifactState(StrEnum):
    PENDING = "pending"
    STORED = "stored"
    DELETED = "deleted"


Transitions = Mapping[StrEnum, frozenset[StrEnum]]

DATASET: Transitions = {
    DatasetStatus.VALIDATING: frozenset({DatasetStatus.READY, DatasetStatus.REJECTED}),
    DatasetStatus.REJECTED: frozenset({DatasetStatus.VALIDATING}),
    DatasetStatus.READY: frozenset(),
}

# An administrator may have a model destroyed whatever it is at.
MODEL: Transitions = {
    ModelStatus.AWAITING_CHECKPOINT: frozenset({ModelStatus.VALIDATING, ModelStatus.DESTROYED}),
    ModelStatus.VALIDATING: frozenset({ModelStatus.READY, ModelStatus.REJECTED, ModelStatus.DESTROYED}),
    ModelStatus.REJECTED: frozenset({ModelStatus.VALIDATING, ModelStatus.DESTROYED}),
    ModelStatus.READY: frozenset({ModelStatus.DESTROYED}),
    ModelStatus.DESTROYED: frozenset(),
}

# Only of a destroyed model does a version go from published, pending or rejected to deleted.
VERSION: Transitions = {
    VersionState.PENDING: frozenset({VersionState.PUBLISHED, VersionState.REJECTED, VersionState.DELETED}),
    VersionState.REJECTED: frozenset({VersionState.PENDING, VersionState.DELETED}),
    VersionState.PUBLISHED: frozenset({VersionState.SUPERSEDED, VersionState.DELETED}),
    VersionState.SUPERSEDED: frozenset(
        {VersionState.PUBLISHED, VersionState.QUARANTINED, VersionState.DELETED}
    ),
    VersionState.QUARANTINED: frozenset({VersionState.SUPERSEDED, VersionState.DELETED}),
    VersionState.DELETED: frozenset(),
}

_RUN: dict[StrEnum, frozenset[StrEnum]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED, RunStatus.FAILED}),
    RunStatus.RUNNING: frozenset(
        {
            RunStatus.SUCCEEDED,
            RunStatus.FAILED,
            RunStatus.CANCELLING,
            RunStatus.NEEDS_REVIEW,
            RunStatus.QUEUED,
        }
    ),
    RunStatus.CANCELLING: frozenset({RunStatus.CANCELLED, RunStatus.FAILED}),
    RunStatus.NEEDS_REVIEW: frozenset({RunStatus.QUEUED, RunStatus.CANCELLED, RunStatus.FAILED}),
    RunStatus.CANCELLED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.SUCCEEDED: frozenset(),
}

JOB: Transitions = _RUN
JOB_STATUSES = tuple(status for status in RunStatus if status in JOB)

# A request outlives its job: it may leave a job alone, run again after a failure, and be reopened when
# an administrator moves the model back to a version that still remembers. What takes more than may go without
# a person's word waits for one before it has a job.
REQUEST: Transitions = _RUN | {
    RunStatus.AWAITING_APPROVAL: frozenset({RunStatus.QUEUED, RunStatus.CANCELLED, RunStatus.FAILED}),
    RunStatus.FAILED: frozenset({RunStatus.QUEUED, RunStatus.AWAITING_APPROVAL}),
    RunStatus.SUCCEEDED: frozenset({RunStatus.QUEUED}),
    RunStatus.RUNNING: _RUN[RunStatus.RUNNING] | {RunStatus.CANCELLED},
}

ARTIFACT: Transitions = {
    ArtifactState.PENDING: frozenset({ArtifactState.STORED, ArtifactState.DELETED}),
    ArtifactState.STORED: frozenset({ArtifactState.DELETED}),
    ArtifactState.DELETED: frozenset(),
}

# Name of the table → (its state column, its machine).
MACHINES: Mapping[str, tuple[str, Transitions]] = {
    "datasets": ("status", DATASET),
    "registered_models": ("status", MODEL),
    "model_versions": ("state", VERSION),
    "deletion_requests": ("status", REQUEST),
    "jobs": ("status", JOB),
    "artifacts": ("state", ARTIFACT),
}

ACTIVE = (RunStatus.RUNNING, RunStatus.CANCELLING)
TERMINAL = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED)


class IllegalTransition(ValueError):
    """The state machine has no such move."""


def refuse_illegal(machine: Transitions, before: StrEnum, after: StrEnum) -> None:
    """Raises `IllegalTransition` unless `machine` allows the move from `before` to `after`."""
    if after not in machine[before]:
        raise IllegalTransition(f"cannot go from {before} to {after}")
