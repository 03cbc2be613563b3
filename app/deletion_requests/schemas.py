"""Deletion requests on the wire."""

import uuid
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from app.core.wire import Answer, InstanceId, LongText, Metadata, Moment, Sent, SentId, ShortText, TaskName

Status = Literal[
    "awaiting_approval", "queued", "running", "cancelling", "succeeded", "failed", "cancelled", "needs_review"
]
Scope = Literal["full", "partial"]
Guarantee = Literal["exact", "empirical"]
Reference = Annotated[str, Field(min_length=1, max_length=128)]


class NewDeletionRequest(Sent):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "digit-reader",
                "instances": ["scan-0001", "scan-0002"],
                "tasks": "all",
                "reference": "case 2026-118",
                "regulation": "gdpr",
            }
        }
    )

    model: Reference | None = Field(None, description="Name or id of one model; or name a dataset")
    dataset: Reference | None = Field(
        None, description="Name or id of a data set: every ready model that learned from it forgets"
    )
    instances: list[InstanceId] | None = Field(None, description="Ids as in the data set's ids")
    instance_list: SentId | None = Field(None, description="Id of a list sent ahead, instead of instances")
    tasks: Literal["all"] | Annotated[list[TaskName], Field(min_length=1, max_length=63)]
    reference: ShortText | None = Field(None, description="The client's own name for this")
    regulation: ShortText | None = Field(None, description="Sets the due date, such as gdpr")
    method: Literal["interference_aware", "retrain"] | None = Field(
        None, description="In place of the method of the model's policy"
    )
    guarantee: Guarantee | None = Field(
        None,
        description="exact: by retraining without them. empirical (the default): unlearned, and measured",
    )
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.model is None) == (self.dataset is None):
            raise ValueError("name a model or a dataset, one of the two")
        if (self.instances is None) == (self.instance_list is None):
            raise ValueError("give instances or an instance_list, one of the two")
        if isinstance(self.tasks, list) and len(set(self.tasks)) < len(self.tasks):
            raise ValueError("tasks names one twice")
        if self.guarantee == "exact" and self.method not in (None, "retrain"):
            raise ValueError(
                f"the method {self.method} cannot give the guarantee exact: name retrain, or no method"
            )
        return self


class Transition(Answer):
    status: Status
    at: Moment


class Extension(Answer):
    """The due date was put off, and the person was told so, with the reason."""

    reason: str
    notified_at: Moment
    previous_due_at: Moment


class NewExtension(Sent):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "reason": "Three models learned from this data; the third is retrained.",
                "notified_at": "2026-11-20T09:00:00Z",
            }
        }
    )

    reason: LongText
    notified_at: Annotated[AwareDatetime, Field(strict=False)] = Field(
        description="When the person was told that it takes longer, and why"
    )


class ReasonView(Answer):
    """Why a request needs a person's word."""

    code: Literal["share", "window_share", "instances_per_day", "part_of_waiting"]
    detail: str
    task: str | None = None
    share: float | None = Field(None, description="Of the task's supervision, with this request counted in")
    limit: float | None = Field(None, description="What may go without a person's word")


class ApprovalView(Answer):
    reasons: list[ReasonView]
    decision: Literal["approved", "rejected"] | None = None
    by: str | None = None
    reason: str | None = None
    at: str | None = None


class ApprovalDecision(Sent):
    """Why a request that waits for a person's word is carried out, or is not."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "The whole school has left."}})

    reason: Annotated[LongText, Field(description="Kept with the request and in the audit log")]


class DescendantView(Answer):
    model: str
    derived_from: str = Field(description="Model and version: name@number")
    instances: int = Field(description="Instances of the request that its newest version still remembers")


class DeletionRequestView(Answer):
    id: uuid.UUID
    parent: uuid.UUID | None = Field(None, description="The request on a data set that this one belongs to")
    model: str | None = Field(description="Name of the model; none for a request on a data set")
    dataset: str
    status: Status = Field(description="Of a request on a data set: that of its children, summed up")
    tasks: list[str]
    scope: Scope
    method: str
    guarantee: Guarantee = Field(description="The least that was asked for; the version says what it has")
    instance_count: int
    already_forgotten: int = Field(description="Instances with nothing left to forget when this came in")
    never_had: int | None = Field(
        None,
        description="Part of a request on a data set: instances of it that no snapshot had which this model "
        "learned from; a lookup tells which",
    )
    reference: str | None
    regulation: str | None
    metadata: dict[str, Any]
    created_at: Moment
    due_at: Moment | None
    acknowledge_by: Moment | None = Field(None, description="By when the person is to know of its receipt")
    acknowledged_at: Moment | None = None
    extension: Extension | None = None
    approval: ApprovalView | None = Field(
        None, description="Why it waits for a person's word, or waited; who gave it, when and why"
    )
    finished_at: Moment | None
    job: uuid.UUID | None
    result_version: int | None = Field(description="The version that behaves as if it had never learned them")
    error_code: str | None
    error_detail: str | None
    transitions: list[Transition]
    figures: list[dict[str, Any]] | None = Field(
        None, description="What the evaluation of the resulting version measured for this request, per task"
    )
    children: list[uuid.UUID] | None = Field(None, description="Of a request on a data set: one per model")
    failed_children: list[uuid.UUID] | None = Field(
        None, description="Those of them that failed: POST …/retry queues them again, and no others"
    )
    descendants: list[DescendantView] | None = Field(
        None,
        description="Models fine-tuned from a version of this one that still remember (only when read alone)",
    )


class TaskEstimate(Answer):
    """`share` and `window_share`: of the task's supervision, with this request counted in: since a person
    last approved of something, and within the policy's window."""

    task: str
    forgets: int = Field(
        description="Labels that would be forgotten: instances with something left to forget"
    )
    share: float
    window_share: float


class ModelEstimate(Answer):
    model: str
    method: str
    guarantee: Guarantee
    tasks: list[str]
    already_forgotten: int
    gone: int = Field(description="Instances that are no longer in its data: it is retrained without them")
    never_had: int = Field(description="Instances that none of its snapshots of the data ever had")
    joins_open_job: bool
    visits: int = Field(description="Forward-backward passes per instance that the policy allows")
    passes: int = Field(description="visits times the instances that are left to forget")
    per_task: list[TaskEstimate]
    needs_approval: list[ReasonView] = Field(
        description="Why it would wait for a person to approve of it; empty when it would not"
    )


class Estimate(Answer):
    """What a request would do. Nothing was written."""

    instance_count: int
    due_at: Moment | None
    models: list[ModelEstimate]
