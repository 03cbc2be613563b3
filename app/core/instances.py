"""The instances that a client names, as keyed hashes: checked, and packed for one trip to the database."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.errors import InvalidInput, TooLarge
from app.core.hashing import advance_hashes, hash_instances
from app.core.settings import Settings

MAX_LENGTH = 256
# Below this many, hashing takes less than a millisecond or so: not worth a thread.
_IN_PLACE = 1000

# In SQL, `packed` is taken apart again: one value instead of an array of up to a hundred thousand.
UNPACKED = (
    "SELECT substring(CAST(:packed AS bytea) FROM i * 32 + 1 FOR 32) AS instance_hash, i AS position"
    " FROM generate_series(0, CAST(:instance_count AS int) - 1) AS i"
)


@dataclass(frozen=True, slots=True)
class NamedInstances:
    """`packed` holds 32 bytes per instance, in the order in which they were named."""

    packed: bytes
    count: int
    names: Sequence[str] | None = None  # None: known as hashes only, from a list sent ahead

    def only(self, positions: Sequence[int]) -> "NamedInstances":
        """Those at these positions, in this order."""
        packed = b"".join(self.packed[place * 32 : place * 32 + 32] for place in positions)
        names = None if self.names is None else [self.names[place] for place in positions]
        return NamedInstances(packed, len(positions), names)

    def advanced(self, tenant_id: uuid.UUID, settings: Settings, before: str, after: str) -> "NamedInstances":
        """Under a newer key. Raises `UnknownHashKey`."""
        hashes = [self.packed[place : place + 32] for place in range(0, len(self.packed), 32)]
        moved = advance_hashes(hashes, tenant_id, settings, before, after)
        return NamedInstances(b"".join(moved), self.count, self.names)


async def read_instances(
    sent: Sequence[str | int], tenant_id: uuid.UUID, settings: Settings, key_id: str | None = None
) -> NamedInstances:
    """Hashed under `key_id`: that of the data set they are looked for in (the newest, without).

    Raises `TooLarge` (too_many_instances) and `InvalidInput` (no_instances, duplicate_instances,
    instance_id_too_long)."""
    most = settings.max_instances_per_request
    if len(sent) > most:
        raise TooLarge(
            f"{len(sent)} instances were named; {most} are accepted at once. Send several requests: those "
            "for the same model wait for one job together.",
            code="too_many_instances",
            limit=most,
        )
    if not sent:
        raise InvalidInput("Name at least one instance.", code="no_instances")
    if len(sent) <= _IN_PLACE:
        return _hashed(sent, tenant_id, settings, key_id)
    return await asyncio.to_thread(_hashed, sent, tenant_id, settings, key_id)


def _hashed(
    sent: Sequence[str | int], tenant_id: uuid.UUID, settings: Settings, key_id: str | None
) -> NamedInstances:
    names = [str(instance) for instance in sent]
    if len(set(names)) < len(names):
        raise _duplicate(names)
    if any(len(name) > MAX_LENGTH for name in names):
        raise InvalidInput(
            f"An instance id has more than {MAX_LENGTH} characters.", code="instance_id_too_long"
        )
    return NamedInstances(b"".join(hash_instances(names, tenant_id, settings, key_id)), len(names), names)


def _duplicate(names: Sequence[str]) -> InvalidInput:
    seen: set[str] = set()
    for position, name in enumerate(names):
        if name in seen:
            return InvalidInput(
                f"The instance at position {position} was named before; name each once.",
                code="duplicate_instances",
                position=position,
                count=len(names) - len(set(names)),
            )
        seen.add(name)
    raise AssertionError("no duplicate")  # pragma: no cover
