"""What the service answers, typed. Fields that this client does not know are passed over, so that an older
client goes on working with a newer service; statuses are plain text for the same reason."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

UNFINISHED = frozenset({"queued", "running", "cancelling"})


class Dataset(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    format: str
    url: str
    holdout_url: str | None = None
    status: str
    error_code: str | None = None
    error_detail: str | None = None
    fingerprint: str | None = None
    holdout_fingerprint: str | None = None
    instance_count: int | None = None
    holdout_count: int | None = None
    targets: list[Any] | None = None
    refreshes: str | None = None
    created_at: datetime
    job: UUID | None = None


class Task(Struct, frozen=True, kw_only=True):
    """`remaining`: instances with supervision that no version has forgotten."""

    name: str
    kind: str
    outputs: int
    remaining: int | None = None


class Model(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    status: str
    error_code: str | None = None
    error_detail: str | None = None
    dataset: str
    network: dict[str, Any]
    tasks: list[Task]
    recipe: dict[str, Any]
    policy: dict[str, Any]
    checkpoint_url: str | None = None
    latest_version: int | None = None
    derived_from: str | None = None
    created_at: datetime
    job: UUID | None = None


class Version(Struct, frozen=True, kw_only=True):
    """`digest`: "sha256:" and 64 hexadecimal characters, over the checkpoint of `size` bytes."""

    id: UUID
    number: int
    parent: int | None = None
    state: str
    digest: str | None = None
    size: int | None = None
    guarantee: str | None = None
    report: dict[str, Any] | None = None
    job: UUID | None = None
    aliases: list[str]
    created_at: datetime


class Alias(Struct, frozen=True, kw_only=True):
    name: str
    version: int


class Transition(Struct, frozen=True, kw_only=True):
    status: str
    at: datetime


class DeletionRequest(Struct, frozen=True, kw_only=True):
    id: UUID
    parent: UUID | None = None
    model: str | None = None
    dataset: str
    status: str
    tasks: list[str]
    scope: str
    method: str
    instance_count: int
    already_forgotten: int = 0
    never_had: int | None = None
    reference: str | None = None
    regulation: str | None = None
    metadata: dict[str, Any]
    created_at: datetime
    due_at: datetime | None = None
    acknowledge_by: datetime | None = None
    acknowledged_at: datetime | None = None
    extension: dict[str, Any] | None = None
    finished_at: datetime | None = None
    job: UUID | None = None
    result_version: int | None = None
    error_code: str | None = None
    error_detail: str | None = None
    transitions: list[Transition]
    figures: list[dict[str, Any]] | None = None
    children: list[UUID] | None = None
    failed_children: list[UUID] | None = None
    descendants: list[dict[str, Any]] | None = None

    @property
    def is_settled(self) -> bool:
        """It has ended, or waits for a person (`needs_review`)."""
        return self.status not in UNFINISHED


class ModelEstimate(Struct, frozen=True, kw_only=True):
    model: str
    method: str
    tasks: list[str]
    already_forgotten: int
    gone: int = 0
    never_had: int = 0
    joins_open_job: bool
    visits: int
    passes: int


class Estimate(Struct, frozen=True, kw_only=True):
    """What a request would do; nothing was written."""

    instance_count: int
    due_at: datetime | None = None
    models: list[ModelEstimate]


class Job(Struct, frozen=True, kw_only=True):
    id: UUID
    kind: str
    status: str
    phase: str | None = None
    model: str | None = None
    dataset: str | None = None
    method: str | None = None
    progress: dict[str, Any] | None = None
    attempts: list[dict[str, Any]]
    device: str | None = None
    request_count: int
    requests: list[UUID]
    base_version: int | None = None
    result_version: int | None = None
    report: dict[str, Any] | None = None
    error_code: str | None = None
    error_detail: str | None = None
    created_at: datetime
    due_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    approved_at: datetime | None = None
    decision: dict[str, Any] | None = None


class InstanceList(Struct, frozen=True, kw_only=True):
    id: UUID
    instance_count: int
    created_at: datetime


class TaskMemory(Struct, frozen=True, kw_only=True):
    """`state`: learned, pending (a request waits or runs) or forgotten (by `request`, in `version`)."""

    task: str
    state: str
    request: UUID | None = None
    version: int | None = None
    at: datetime | None = None


class ModelMemory(Struct, frozen=True, kw_only=True):
    model: str
    head_version: int | None = None
    tasks: list[TaskMemory]


class InstanceMemory(Struct, frozen=True, kw_only=True):
    instance: str
    known: bool
    models: list[ModelMemory]


class Lookup(Struct, frozen=True, kw_only=True):
    dataset: str
    data: list[InstanceMemory]


class SigningKey(Struct, frozen=True, kw_only=True):
    key_id: str
    algorithm: str
    public_key: str
    first_used_at: datetime


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened. `progress` has no id, because it is not history."""

    id: int | None
    type: str
    data: dict[str, Any]


class Download(Struct, frozen=True, kw_only=True):
    """A checkpoint that lies in `file` and has the digest that the service promised."""

    file: str
    digest: str
    size: int
    resumed_at: int
