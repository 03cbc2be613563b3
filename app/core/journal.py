"""The journal of deletions: one object per deletion request, in the storage and not in the database.

A database that is restored from a backup has forgotten who asked to be forgotten since. The journal has not:
it names everything that is needed to ask again. Instances are in it as keyed hashes, as in the database.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from app.core.storage import Storage

FOLDER = "journal/deletions"


@dataclass(frozen=True)
class Entry:
    """A deletion request as it was accepted, and whether it has been taken back since."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    registered_model_id: uuid.UUID
    dataset_id: uuid.UUID
    tasks: list[str]
    scope: str
    method: str
    hash_key_id: str
    reference: str | None
    regulation: str | None
    metadata: dict[str, Any]
    created_at: str
    due_at: str | None
    instances: list[str]  # hexadecimal
    cancelled: bool
    guarantee: str = "empirical"  # entries of earlier days have none


def write_entry(storage: Storage, entry: Entry) -> None:
    """Over what was written of the same request before."""
    content = json.dumps(asdict(entry), default=str).encode()
    storage.put(f"{FOLDER}/{entry.id}", [content])


def read_entries(storage: Storage) -> Iterator[Entry]:
    """All of them, in no order."""
    for path in storage.list(FOLDER):
        found = json.loads(b"".join(storage.read(path)))
        ids = ("id", "tenant_id", "registered_model_id", "dataset_id")
        yield Entry(**found | {name: uuid.UUID(found[name]) for name in ids})
