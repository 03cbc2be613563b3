"""Data sets, models and their versions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct


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
    empirical_steps: int = 0
    report: dict[str, Any] | None = None
    job: UUID | None = None
    aliases: list[str]
    created_at: datetime
    state_since: datetime
    on_hold: bool = False


class Alias(Struct, frozen=True, kw_only=True):
    name: str
    version: int


class Download(Struct, frozen=True, kw_only=True):
    """A checkpoint that lies in `file` and has the digest that the service promised."""

    file: str
    digest: str
    size: int
    resumed_at: int


class VersionAudit(Struct, frozen=True, kw_only=True):
    """A stronger look at a version. `report`: only when it is read alone."""

    id: UUID
    created_at: datetime
    digest: str
    findings: list[str]
    report: dict[str, Any] | None = None


class Hold(Struct, frozen=True, kw_only=True):
    """A legal hold; without a `version`, on the model with all its versions."""

    id: UUID
    version: int | None = None
    reason: str
    placed_by: str
    placed_at: datetime
    lifted_by: str | None = None
    lifted_at: datetime | None = None
    lift_reason: str | None = None


class DoomedModel(Struct, frozen=True, kw_only=True):
    id: UUID
    model: str
    versions: int
    open_requests: int


class Destruction(Struct, frozen=True, kw_only=True):
    """`status`: confirmation_needed (nothing was destroyed) or destroyed."""

    status: str
    models: list[DoomedModel]
    confirmation: str | None = None
    expires_at: datetime | None = None
