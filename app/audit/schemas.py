"""The audit log on the wire."""

import uuid
from typing import Any

from pydantic import Field

from app.core.wire import Answer


class AuditEntryView(Answer):
    id: int
    at: str = Field(description="RFC 3339, UTC: when the row was written")
    tenant: uuid.UUID
    actor: str = Field(description="key:<public id>, worker:<name>, relay or operator")
    action: str
    subject: uuid.UUID | None = Field(description="What it was done to")
    request: str | None = Field(description="The X-Request-Id of the call that did it")
    data: Any


class SealedEntryView(Answer):
    position: int = Field(description="Place in the tenant's chain, from 1")
    previous: str = Field(description="The hash at the position before; zeros before the first")
    hash: str = Field(description="SHA-256 of the canonical JSON (RFC 8785) of entry, position, previous")
    entry: AuditEntryView


class AuditPage(Answer):
    """In the order of the chain, oldest first. To go on, send `after` = the last position."""

    data: list[SealedEntryView]
    has_more: bool
