"""The body of an OpenDSR request (specification, section 7.1), in the shape of 2.0 and in that of one
vendor's third version, where `subject_identities` is a dictionary."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.core.wire import InstanceId, TaskName
from app.deletion_requests.schemas import Reference
from app.opendsr.identities import FORMATS, TYPES, Identity, identity
from app.outbound.urls import ReceiverUrl

MOST_IDENTITIES = 1000
MOST_CALLBACKS = 10
OLDEST_YEARS = 10
API_VERSIONS = ("1.0", "2.0", "3.0")

Value = Annotated[str, Field(min_length=1, max_length=1024)]


class SentIdentity(BaseModel):
    """Section 5.3. `encoding` and `value` are the vendor's words for the same."""

    model_config = ConfigDict(extra="ignore", strict=True)

    identity_type: str = Field(max_length=64, json_schema_extra={"enum": list(TYPES)})
    identity_value: Value
    identity_format: str = Field("raw", max_length=16, json_schema_extra={"enum": list(FORMATS)})

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.read()
        return self

    def read(self) -> Identity:
        return identity(self.identity_type, self.identity_format, self.identity_value)


def _as_list(sent: Any) -> Any:
    if not isinstance(sent, Mapping):
        return sent
    return [_from_entry(name, entry) for name, entry in sent.items()]


def _from_entry(name: Any, entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        raise ValueError("each identity must be an object with value and encoding")
    return {
        "identity_type": name,
        "identity_value": entry.get("value"),
        "identity_format": entry.get("encoding", "raw"),
    }


def _v4(value: Any) -> uuid.UUID:
    """Section 1.1: GUIDs are lowercase and of version 4."""
    if isinstance(value, str):
        try:
            read = uuid.UUID(value)
        except ValueError:
            read = uuid.UUID(int=0)
        if read.version == 4 and str(read) == value:
            return read
    raise ValueError("it must be a UUID of version 4 in lower case")


class Extension(BaseModel):
    """What is ours in `extensions`. Unknown members are refused: a typing error must not widen a deletion."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Reference | None = None
    dataset: Reference | None = None
    tasks: Literal["all"] | Annotated[list[TaskName], Field(min_length=1, max_length=63)] = "all"
    method: Literal["interference_aware", "retrain"] | None = None
    instances: list[InstanceId] | None = Field(None, description="In place of identities")

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.model is not None and self.dataset is not None:
            raise ValueError("name a model or a dataset, not both")
        if isinstance(self.tasks, list) and len(set(self.tasks)) < len(self.tasks):
            raise ValueError("tasks names one twice")
        return self


class SentRequest(BaseModel):
    """Members that we do not know are passed over, as vendors add their own."""

    model_config = ConfigDict(
        extra="ignore",
        strict=True,
        json_schema_extra={
            "example": {
                "regulation": "gdpr",
                "subject_request_id": "a7551968-d5d6-44b2-9831-815ac9017798",
                "subject_request_type": "erasure",
                "submitted_time": "2026-11-24T15:00:00Z",
                "subject_identities": [
                    {
                        "identity_type": "email",
                        "identity_value": "johndoe@example.com",
                        "identity_format": "raw",
                    }
                ],
                "api_version": "2.0",
                "status_callback_urls": ["https://controller.example.com/opendsr_callbacks"],
                "extensions": {"opendsr.example.com": {"dataset": "digits", "tasks": "all"}},
            }
        },
    )

    regulation: str = Field(min_length=1, max_length=64)
    subject_request_id: Annotated[
        uuid.UUID,
        BeforeValidator(_v4),
        Field(
            json_schema_extra={
                "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
            }
        ),
    ]
    subject_request_type: Literal["erasure"]
    submitted_time: Annotated[AwareDatetime, Field(strict=False)]
    subject_identities: Annotated[
        list[SentIdentity], BeforeValidator(_as_list), Field(max_length=MOST_IDENTITIES)
    ] = Field(
        default_factory=list,
        description="A list; or a dictionary of identity type to {value, encoding}. Formats: "
        + ", ".join(FORMATS),
    )
    api_version: Literal[API_VERSIONS] = "2.0"  # type: ignore[valid-type]
    status_callback_urls: Annotated[list[ReceiverUrl], Field(max_length=MOST_CALLBACKS)] | None = None
    extensions: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _in_the_past(self) -> Self:
        this_year = datetime.now(UTC).year
        # The year first: the ends of the calendar cannot be converted.
        if self.submitted_time.year > this_year + 1 or self.submitted_time > datetime.now(UTC):
            raise ValueError("submitted_time lies in the future")
        if self.submitted_time.year < this_year - OLDEST_YEARS:
            raise ValueError(f"submitted_time lies more than {OLDEST_YEARS} years back")
        return self

    @property
    def identities(self) -> list[Identity]:
        return list(dict.fromkeys(sent.read() for sent in self.subject_identities))

    @property
    def callbacks(self) -> list[str]:
        return list(dict.fromkeys(self.status_callback_urls or ()))

    def extension(self, domain: str) -> Extension:
        """Ours; those of other processors are not looked at. Raises pydantic's `ValidationError`."""
        return Extension.model_validate((self.extensions or {}).get(domain, {}))
