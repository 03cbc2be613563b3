"""Types of what clients send and get, shared by the slices."""

import json
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
)

MAX_JSON_CHARACTERS = 16 * 1024
MAX_JSON_DEPTH = 32


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


def storable(value: Any, most: int = MAX_JSON_CHARACTERS) -> Any:
    """What PostgreSQL's jsonb takes: finite numbers, valid Unicode without NUL, and not too much of it."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if len(text) > most:
        raise ValueError(f"it must stay below {most} characters of JSON")
    # Backslashes that were sent come doubled, and are not the start of an escape.
    if "\\u0000" in text.replace("\\\\", "") or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it must not hold NUL characters or lone surrogates")
    if _depth(value) > MAX_JSON_DEPTH:
        raise ValueError(f"it must not be nested more than {MAX_JSON_DEPTH} deep")
    return value


def _depth(value: Any) -> int:
    """Level by level: a recursive count would itself go too deep."""
    depth, level = 0, [value]
    while level:
        containers = [part for part in level if isinstance(part, (dict, list))]
        level = [item for part in containers for item in (part.values() if isinstance(part, dict) else part)]
        depth += bool(containers)
    return depth


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
Value = TypeVar("Value")
# Said once more for JSON Schema, where a key that matches no pattern would be fine.
ByTask = Annotated[dict[TaskName, Value], Field(json_schema_extra={"additionalProperties": False})]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
LongText = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]
Metadata = Annotated[dict[str, Any], AfterValidator(storable)]
SentId = Annotated[uuid.UUID, Field(strict=False)]
InstanceId = Annotated[str, StringConstraints(min_length=1, max_length=256)] | StrictInt
Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]

Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    """A page of a list, newest first. To go on, send `after` = the id of the last item."""

    data: list[Item]
    has_more: bool
