"""The journal of deletions: one object per deletion request, in the storage and not in the database.

A database that is restored from a backup has forgotten who asked to be forgotten since. The journal has not:
it names everything that is needed to ask again, and what notice the person was given. Instances are in it as
keyed hashes, as in the database.

Beside it, per tenant, the newest signed checkpoint of the audit log: a restored log ends before it, and goes
another way from there; so that this can be said, and told from forgery.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import StringConstraints, TypeAdapter, ValidationError

from app.core.storage import NotStored, Storage

FOLDER = "journal/deletions"
AUDIT_FOLDER = "journal/audit"


Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class DamagedEntry(ValueError):
    """The bytes are not an entry of the journal."""


@dataclass(frozen=True)
class Entry:
    """A deletion request as it was accepted, what notice was given of it, and whether it has been taken back
    since."""

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
    instances: list[Hash]  # hexadecimal
    cancelled: bool
    acknowledge_by: str | None = None
    # Of a request on a data set's: that request itself, which has no entry of its own.
    parent: dict[str, Any] | None = None
    guarantee: str = "empirical"  # entries of earlier days have none of what follows
    # Why it waited for a person's word when this was written, if it did; and when that was given.
    waits_because: list[dict[str, Any]] | None = None
    approved_at: str | None = None
    # That the person was told of the receipt; and that it takes longer, which `due_at` has in it.
    acknowledged_at: str | None = None
    extension: dict[str, Any] | None = None
    # Of that request on a data set: the instances that are not in this part of it.
    others: list[Hash] = field(default_factory=list)


_ENTRY = TypeAdapter(Entry)


def write_entry(storage: Storage, entry: Entry) -> None:
    """Over what was written of the same request before."""
    content = json.dumps(asdict(entry), default=str).encode()
    storage.put(f"{FOLDER}/{entry.id}", [content])


def read_entry(content: bytes) -> Entry:
    """Raises `DamagedEntry`."""
    try:
        return _ENTRY.validate_json(content)
    except ValidationError as error:
        raise DamagedEntry("this is no entry of the journal") from error


def read_entries(storage: Storage, damaged: list[str] | None = None) -> Iterator[Entry]:
    """All of them, in no order. With `damaged`, the paths of those that cannot be read are added to it;
    without, one such raises `DamagedEntry`."""
    for path in storage.list(FOLDER):
        try:
            yield read_entry(b"".join(storage.read(path)))
        except DamagedEntry:
            if damaged is None:
                raise
            damaged.append(path)


@dataclass(frozen=True)
class SignedEnd:
    """A signed checkpoint of a tenant's audit log. `head`: the hash at its position, hexadecimal."""

    tenant_id: uuid.UUID
    position: int
    head: str
    envelope: str


def write_signed_end(storage: Storage, end: SignedEnd) -> None:
    """Over the one that was there."""
    storage.put(f"{AUDIT_FOLDER}/{end.tenant_id}", [json.dumps(asdict(end), default=str).encode()])


def read_signed_end(storage: Storage, tenant_id: uuid.UUID) -> SignedEnd | None:
    try:
        found = json.loads(b"".join(storage.read(f"{AUDIT_FOLDER}/{tenant_id}")))
    except NotStored:
        return None
    return SignedEnd(**found | {"tenant_id": tenant_id})


def signed_ends(storage: Storage) -> list[SignedEnd]:
    """Of all tenants."""
    tenants = [uuid.UUID(path.rsplit("/", 1)[1]) for path in storage.list(AUDIT_FOLDER)]
    return [end for tenant in tenants if (end := read_signed_end(storage, tenant)) is not None]


def remove_signed_end(storage: Storage, end: SignedEnd) -> None:
    storage.delete(f"{AUDIT_FOLDER}/{end.tenant_id}")
