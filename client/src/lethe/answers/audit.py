"""The audit log."""

from typing import Any
from uuid import UUID

from msgspec import Struct


class AuditEntry(Struct, frozen=True, kw_only=True):
    """Who (`actor`) did what (`action`) to what (`subject`)."""

    id: int
    at: str
    tenant: UUID
    actor: str
    action: str
    subject: UUID | None = None
    request: str | None = None
    data: Any


class SealedEntry(Struct, frozen=True, kw_only=True):
    """`hash` is over the entry, its position and the hash before it."""

    position: int
    previous: str
    hash: str
    entry: AuditEntry
