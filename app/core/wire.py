"""Types of what clients send and get, shared by the slices."""

import json
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictInt,
    StringConstraints,
)

MAX_METADATA_BYTES = 16 * 1024


class Sent(BaseModel):
    """A body that a client sends. Unknown fields are refused: a typing error must not be ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Answer(BaseModel):
    """A body that we send."""

    model_config = ConfigDict(from_attributes=False)


def _not_an_id(name: str) -> str:
    try:
        uuid.UUID(name)
    except ValueError:
        return name
    raise ValueError("a name must not look like an id")


def _storable(metadata: dict[str, Any]) -> dict[str, Any]:
    """What PostgreSQL's jsonb takes: valid Unicode without NUL, and not too much of it."""
    text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
    if len(text) > MAX_METADATA_BYTES:
        raise ValueError(f"metadata must stay below {MAX_METADATA_BYTES} characters of JSON")
    if "\\u0000" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("metadata must not hold NUL characters or lone surrogates")
    return metadata


def rfc3339(moment: datetime) -> str:
    """RFC 3339, UTC, microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"),
    AfterValidator(_not_an_id),
    Field(description="1 to 128 letters, digits, dots, dashes and underscores"),
]
TaskName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
LongText = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]
Metadata = Annotated[dict[str, Any], AfterValidator(_storable)]
SentId = Annotated[uuid.UUID, Field(strict=False)]
InstanceId = Annotated[str, StringConstraints(min_length=1, max_length=256)] | StrictInt
Moment = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]

After = Annotated[uuid.UUID | None, Query(description="Continue after the item with this id")]
Limit = Annotated[int, Query(ge=1, le=100, description="How many items at most")]

Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    """A page of a list, newest first. To go on, send `after` = the id of the last item."""

    data: list[Item]
    has_more: bool
