"""Holds, retention and destruction on the wire."""

import uuid
from typing import Literal

from pydantic import ConfigDict, Field

from app.core.wire import Answer, LongText, Moment, Sent

Days = float
LONGEST = 36_500


class Retention(Sent):
    """The clock of superseded versions, in days. None: never."""

    model_config = ConfigDict(json_schema_extra={"example": {"quarantine_after": 7, "delete_after": 23}})

    quarantine_after: Days | None = Field(
        ge=0, le=LONGEST, description="Days from being superseded until it is withdrawn"
    )
    delete_after: Days | None = Field(
        ge=0, le=LONGEST, description="Days from being withdrawn until its bytes are deleted"
    )


class Reason(Sent):
    model_config = ConfigDict(json_schema_extra={"example": {"reason": "The case was closed."}})

    reason: LongText


class NewHold(Reason):
    model_config = ConfigDict(json_schema_extra={"example": {"reason": "Case 4 O 17/26", "version": 1}})

    version: int | None = Field(None, ge=1, description="One version; without it, all of the model")


class HoldView(Answer):
    id: uuid.UUID
    version: int | None = Field(description="None: the model with all its versions")
    reason: str
    placed_by: str
    placed_at: Moment
    lifted_by: str | None
    lifted_at: Moment | None
    lift_reason: str | None


class HoldList(Answer):
    data: list[HoldView]


class NewDestruction(Reason):
    model_config = ConfigDict(json_schema_extra={"example": {"reason": "Order of the authority, 12 May"}})

    confirmation: str | None = Field(
        None, max_length=256, description="From the answer to the first call, which destroys nothing"
    )


class DoomedModel(Answer):
    id: uuid.UUID
    model: str
    versions: int = Field(description="Whose bytes are there")
    open_requests: int = Field(description="They fail, with the code model_destroyed")


class Destruction(Answer):
    status: Literal["confirmation_needed", "destroyed"]
    models: list[DoomedModel] = Field(description="The model, and all that was fine-tuned from its versions")
    confirmation: str | None = Field(None, description="Send it to have just these models destroyed")
    expires_at: Moment | None = None
