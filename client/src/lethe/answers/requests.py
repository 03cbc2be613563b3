"""Deletion requests, the jobs that carry them out, and what happens to both."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

UNFINISHED = frozenset({"queued", "running", "cancelling"})


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
    guarantee: str = "empirical"
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
    approval: dict[str, Any] | None = None
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
        """It has ended, or waits for a person (`awaiting_approval`, `needs_review`)."""
        return self.status not in UNFINISHED


class ModelEstimate(Struct, frozen=True, kw_only=True):
    """`per_task`: how many labels would be forgotten, and which share of the task's supervision would then be
    gone; `needs_approval`: why it would wait for a person to approve of it."""

    model: str
    method: str
    guarantee: str = "empirical"
    tasks: list[str]
    already_forgotten: int
    gone: int = 0
    never_had: int = 0
    joins_open_job: bool
    visits: int
    passes: int
    per_task: list[dict[str, Any]] = []
    needs_approval: list[dict[str, Any]] = []


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
    rungs: list[dict[str, Any]] = []
    decision: dict[str, Any] | None = None


class InstanceList(Struct, frozen=True, kw_only=True):
    id: UUID
    instance_count: int
    created_at: datetime


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened. `progress` has no id, because it is not history."""

    id: int | None
    type: str
    data: dict[str, Any]
