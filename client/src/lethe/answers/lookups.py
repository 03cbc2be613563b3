"""Who learned from an instance."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct


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


class DescendantMemory(Struct, frozen=True, kw_only=True):
    """A model fine-tuned from a version that had learned from `instances`, and still remembers them."""

    model: str
    derived_from: str
    instances: list[str]


class Lookup(Struct, frozen=True, kw_only=True):
    dataset: str
    data: list[InstanceMemory]
    descendants: list[DescendantMemory] = []
