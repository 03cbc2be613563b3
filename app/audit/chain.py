"""A row of the audit log as it is hashed and handed out, and the link that chains it.

    hash = SHA-256(canonical JSON of {"entry": …, "position": n, "previous": hash of position n - 1})

with 64 zeros before the first. Each tenant's rows are a chain of their own, so that a tenant can check all
of what concerns it, and sees nothing of others. `docs/evidence.md` is the description for strangers.
"""

import hashlib
import json
from datetime import datetime
from typing import Any

from app.core.canonical import canonical
from app.core.rows import AnyRow
from app.core.wire import rfc3339

GENESIS = bytes(32)

# `data` as text: the database's own rendering, whatever the JSON holds.
ENTRY_COLUMNS = (
    "entry.id, entry.at, entry.tenant_id, entry.actor, entry.action, entry.subject_id, entry.request_id,"
    " CAST(entry.data AS text) AS data"
)


def entry_of(row: AnyRow) -> dict[str, Any]:
    """The JSON form of a row that has `ENTRY_COLUMNS`."""
    at: datetime = row.at
    return {
        "id": row.id,
        "at": rfc3339(at),
        "tenant": str(row.tenant_id),
        "actor": row.actor,
        "action": row.action,
        "subject": str(row.subject_id) if row.subject_id else None,
        "request": row.request_id,
        "data": _data(row.data),
    }


def link_hash(entry: dict[str, Any], position: int, previous: bytes) -> bytes:
    return hashlib.sha256(
        canonical({"entry": entry, "position": position, "previous": previous.hex()})
    ).digest()


def _data(text: str) -> Any:
    """What has no canonical form stays text: no row may keep those behind it from being sealed."""
    try:
        value = json.loads(text)
        canonical(value)
    except (ValueError, RecursionError):
        return text
    return value
