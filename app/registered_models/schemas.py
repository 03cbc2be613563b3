"""Registered models, their versions and aliases on the wire."""

import uuid
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, field_validator, model_validator

from app.core.wire import Answer, ByTask, LongText, Moment, Name, Sent, TaskName, storable
from app.registered_models.policy import Policy

AliasName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9._-]{0,63}$"),
    Field(description="1 to 64 lower-case letters, digits, dots, dashes, underscores; a letter first"),
]
MAX_TASKS = 63
MAX_NETWORK_CHARACTERS = 256 * 1024  # a transformer's configuration may name a thousand labels, twice


class Network(Sent):
    """A network specification: its kind, and the fields that this kind takes."""

    model_config = ConfigDict(extra="allow", strict=True)

    kind: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]

    @model_validator(mode="after")
    def _storable(self) -> Self:
        storable(self.__pydantic_extra__, MAX_NETWORK_CHARACTERS)
        return self


class Task(Sent):
    name: TaskName = Field(description="Name of the head, and of its target in the data set")
    kind: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
    outputs: int = Field(ge=1, le=1_000_000, description="Number of classes, or of regressed values")


class Recipe(Sent):
    """How the network was trained. `learning_rate` is the peak."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0, le=100)
    epochs: int = Field(30, ge=1, le=100_000)
    batch_size: int = Field(32, ge=1, le=1_000_000)
    weight_decay: float = Field(0.0, ge=0, le=10)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    loss_weights: ByTask[Annotated[float, Field(gt=0)]] = Field(default_factory=dict)


class Origin(Sent):
    model: str = Field(min_length=1, max_length=128, description="Name or id of a registered model")
    version: int = Field(ge=1, le=999_999_999)


class NewModel(Sent):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "digit-reader",
                "network": {"kind": "mlp", "inputs": 64, "hidden": [256, 128]},
                "tasks": [
                    {"name": "digit", "kind": "classification", "outputs": 10},
                    {"name": "parity", "kind": "classification", "outputs": 2},
                ],
                "dataset": "digits",
                "recipe": {"optimizer": "adam", "learning_rate": 0.001, "epochs": 30, "batch_size": 32},
            }
        }
    )

    name: Name
    network: Network
    tasks: list[Task] = Field(min_length=1, max_length=MAX_TASKS)
    dataset: str = Field(
        min_length=1, max_length=128, description="Name or id of the data set it learned from"
    )
    recipe: Recipe
    policy: Policy = Field(default_factory=Policy)
    checkpoint_url: (
        Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=r"^[^\x00]*$")] | None
    ) = Field(None, description="Where version 1 lies (safetensors); otherwise it is sent by PUT")

    derived_from: Origin | None = Field(
        None, description="The version that it was fine-tuned from: what that remembers, it remembers too"
    )

    @field_validator("tasks")
    @classmethod
    def _distinct(cls, tasks: list[Task]) -> list[Task]:
        if len({task.name for task in tasks}) < len(tasks):
            raise ValueError("every task needs a name of its own")
        return tasks


class NewAlias(Sent):
    model_config = ConfigDict(json_schema_extra={"example": {"version": 2}})

    version: int = Field(ge=1)
    reason: LongText | None = Field(
        None, description="Needed from an administrator who moves back to a version that remembers"
    )


class NewSnapshot(Sent):
    model_config = ConfigDict(json_schema_extra={"example": {"dataset": "digits-2026-11"}})

    dataset: str = Field(min_length=1, max_length=128, description="Name or id of the newer snapshot")


class TaskView(Answer):
    name: str
    kind: str
    outputs: int
    remaining: int | None = Field(description="Instances with supervision that no version has forgotten")


class ModelView(Answer):
    id: uuid.UUID
    name: str
    status: Literal["awaiting_checkpoint", "validating", "ready", "rejected", "destroyed"]
    error_code: str | None = Field(description="Why it was rejected, or destroyed")
    error_detail: str | None
    dataset: str
    network: dict[str, Any]
    tasks: list[TaskView]
    recipe: dict[str, Any]
    policy: dict[str, Any]
    checkpoint_url: str | None
    derived_from: str | None = Field(None, description="The version it was fine-tuned from: name@number")
    latest_version: int | None = Field(description="The version that the next job starts from")
    created_at: Moment
    job: uuid.UUID | None = Field(description="The newest validation job")


class VersionView(Answer):
    id: uuid.UUID
    number: int
    parent: int | None = Field(description="Number of the version that it was made from")
    state: Literal["pending", "rejected", "published", "superseded", "quarantined", "deleted"]
    digest: str | None = Field(description="sha256: and 64 hexadecimal characters, over the checkpoint")
    size: int | None = Field(description="Bytes of the checkpoint")
    guarantee: Literal["exact", "empirical"] | None
    empirical_steps: int = Field(
        description="Approximate steps that lie behind it since a version was last trained, its own included"
    )
    report: dict[str, Any] | None
    job: uuid.UUID | None
    aliases: list[str]
    created_at: Moment
    state_since: Moment
    on_hold: bool = Field(description="A legal hold is in force on it, or on its model")


class AliasView(Answer):
    name: str
    version: int


class AliasList(Answer):
    data: list[AliasView]
