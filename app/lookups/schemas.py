"""Lookups on the wire."""

import uuid
from typing import Literal

from pydantic import ConfigDict, Field

from app.core.wire import Answer, InstanceId, Moment, Sent

MAX_INSTANCES = 1000


class NewLookup(Sent):
    model_config = ConfigDict(
        json_schema_extra={"example": {"dataset": "digits", "instances": ["scan-0001"]}}
    )

    dataset: str = Field(min_length=1, max_length=128, description="Name or id")
    instances: list[InstanceId] = Field(min_length=1, max_length=MAX_INSTANCES)


class TaskMemory(Answer):
    task: str
    state: Literal["learned", "pending", "forgotten"] = Field(
        description="pending: a request waits or runs; forgotten: by `request`, in `version`"
    )
    request: uuid.UUID | None = None
    version: int | None = None
    at: Moment | None = None


class ModelMemory(Answer):
    model: str
    head_version: int | None
    tasks: list[TaskMemory] = Field(description="The tasks for which the instance has supervision")


class InstanceMemory(Answer):
    instance: str
    known: bool = Field(description="Whether the data set, or another snapshot of it, holds it")
    models: list[ModelMemory]


class DescendantMemory(Answer):
    model: str
    derived_from: str = Field(description="Model and version: name@number")
    instances: list[str] = Field(description="Those that its newest version still remembers")


class Lookup(Answer):
    dataset: str
    data: list[InstanceMemory]
    descendants: list[DescendantMemory] = Field(
        description="Models fine-tuned from a version that had learned from the instances, on whatever data"
    )
