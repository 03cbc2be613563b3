"""Webhooks on the wire."""

import uuid
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from app.core.wire import Answer, Moment, Sent, ShortText
from app.outbound.urls import ReceiverUrl
from app.webhooks.event_types import GROUPS, KNOWN, is_known

DeliveryStatus = Literal["pending", "delivered", "dead"]


def _known(pattern: str) -> str:
    if not is_known(pattern):
        raise ValueError(
            "there is no such event: name one as in docs/webhooks.md, a group as "
            f"{' or '.join(f'{group}.*' for group in GROUPS)}, or *"
        )
    return pattern


Pattern = Annotated[
    str, Field(max_length=64, json_schema_extra={"enum": list(KNOWN)}), AfterValidator(_known)
]
Events = Annotated[
    list[Pattern],
    Field(min_length=1, max_length=64, description="Types such as request.succeeded, groups as job.*, or *"),
]


class NewWebhook(Sent):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "url": "https://privacy.example.com/lethe",
                "events": ["request.*", "certificate.issued"],
            }
        }
    )

    url: ReceiverUrl = Field(description="Where events are posted to: https, on the public internet")
    description: ShortText | None = None
    events: Events = Field(default_factory=lambda: ["*"])


class WebhookChange(Sent):
    """What is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"example": {"enabled": True}})

    url: ReceiverUrl | None = None
    description: ShortText | None = None
    events: Events | None = None
    enabled: bool | None = Field(None, description="false holds deliveries back; true goes on with them")


class Rotation(Sent):
    model_config = ConfigDict(json_schema_extra={"example": {"previous_signs_hours": 48}})

    previous_signs_hours: float | None = Field(
        None, ge=0, le=720, description="How long the old secret goes on signing too; 0 when it has leaked"
    )


class WebhookView(Answer):
    id: uuid.UUID
    url: str
    description: str | None
    events: list[str]
    enabled: bool
    disabled_reason: Literal["gone", "by_request"] | None = Field(
        description="gone: the receiver answered 410"
    )
    created_at: Moment
    previous_secret_until: Moment | None = Field(description="Until when a replaced secret signs too")
    pending: int = Field(description="Deliveries that wait for an attempt")
    dead: int = Field(description="Deliveries that were given up, and can be sent again")


class WebhookWithSecret(WebhookView):
    secret: str = Field(description="whsec_ and base64. It is shown this once")


class DeliveryView(Answer):
    event: int = Field(description="Id of the event, as data.event says it to the receiver")
    type: str
    subject: uuid.UUID
    status: DeliveryStatus
    attempts: int
    created_at: Moment
    next_attempt_at: Moment | None
    last_attempt_at: Moment | None
    last_status: int | None = Field(description="HTTP status of the receiver's last answer")
    last_error: str | None = Field(description="Why the last attempt failed")


class DeliveryPage(Answer):
    """Newest first. To go on, send `after` = the last item's event."""

    data: list[DeliveryView]
    has_more: bool


class Resent(Answer):
    resent: int = Field(description="Deliveries that wait for an attempt again")
