"""What a receiver is sent: the body and its signed headers (Standard Webhooks 1.0).

A body holds ids, names of ours and counts; never an instance id, a reference, metadata or any other text that
a client wrote. It is made of what cannot change, so that every attempt sends the same bytes.
"""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from standardwebhooks import Webhook

from app.core.wire import rfc3339

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Of an event's data, what is passed on.
_PASSED_ON = (
    "job",
    "version",
    "code",
    "attempt",
    "phase",
    "digest",
    "kind",
    "sha256",
    "date",
    "instances",
    "scopes",
    "made_by",
    "rotated_from",
    "child",
    "hold",
    "audit",
    "method",
)


@dataclass(frozen=True)
class Event:
    """An event, and the immutable facts about its subject: its model's name, and the request above it."""

    id: int
    type: str
    at: datetime
    subject_id: uuid.UUID
    data: dict[str, Any]
    model: str | None = None
    parent_id: uuid.UUID | None = None


def message_id(event: Event) -> str:
    """`webhook-id`: the same in every attempt, and when it is sent again. With the time of the event, because
    a database that was restored hands out numbers that it had handed out before."""
    return f"evt_{event.id}_{(event.at - _EPOCH) // timedelta(microseconds=1):x}"


def body_of(event: Event) -> bytes:
    data: dict[str, Any] = {"event": event.id, "subject": str(event.subject_id)}
    data |= {"model": event.model} if event.model else {}
    data |= {"parent": str(event.parent_id)} if event.parent_id else {}
    data |= {name: event.data[name] for name in _PASSED_ON if event.data.get(name) is not None}
    told = {"type": event.type, "timestamp": rfc3339(event.at), "data": data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def signed_headers(event: Event, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """One signature per secret, the present one's first; the time is this attempt's."""
    now = datetime.now(UTC)
    name = message_id(event)
    signatures = [Webhook(secret).sign(name, now, body.decode()) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "Lethe-Webhooks",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
