"""Jobs on the wire."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from app.core.wire import Answer, LongText, Moment, Sent

JobStatus = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "needs_review"]
Kind = Literal["validate_dataset", "validate_model", "unlearn"]


class AttemptView(Answer):
    number: int
    worker: str
    device: str | None
    started_at: Moment
    finished_at: Moment | None
    outcome: str | None
    error_code: str | None
    error_detail: str | None
    rungs: list[dict[str, Any]] = Field(
        description="What it tried to the end: method, figures, and why that was not published"
    )


class JudgementView(Answer):
    decision: Literal["approved", "rejected"]
    by: str
    reason: str
    at: str


class JobView(Answer):
    id: uuid.UUID
    kind: Kind
    status: JobStatus
    phase: Literal["loading", "unlearning", "evaluating", "publishing"] | None
    model: str | None
    dataset: str | None
    method: str | None
    progress: dict[str, Any] | None = Field(
        description="done and total in steps, a note, and rung, rung_number and rungs of the escalation"
    )
    attempts: list[AttemptView]
    device: str | None
    request_count: int
    requests: list[uuid.UUID] = Field(description="The first hundred requests in it")
    base_version: int | None
    result_version: int | None
    report: dict[str, Any] | None = Field(
        description="The evaluation's figures, and whether gates were missed"
    )
    error_code: str | None
    error_detail: str | None
    created_at: Moment
    due_at: Moment | None
    started_at: Moment | None
    finished_at: Moment | None
    cancel_requested_at: Moment | None
    approved_at: Moment | None
    rungs: list[dict[str, Any]] = Field(
        description="What was tried so far, in order: rung, method, scale, attempt, result, figures, why_not"
    )
    decision: JudgementView | None = Field(description="Who approved or rejected the candidate, and why")


class Decision(Sent):
    """Why a candidate that missed a gate is published, or is not."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "measured again by hand"}})

    reason: Annotated[
        LongText,
        Field(description="Kept with the job and in the audit log; of an approval, in the certificates"),
    ]
