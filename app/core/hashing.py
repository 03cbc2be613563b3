"""Instance ids as keyed hashes: all that Lethe keeps of them.

HMAC-SHA-256 (RFC 2104) under a key derived per tenant, so that neither a stolen database without the
key nor another tenant's rows tell who is in it.

Keys rotate in layers, because the ids themselves are not kept: under the second key, the hash of an id is the
HMAC of its hash under the first. So every hash that is stored can be brought under a new key without its id,
and whoever has an old key alone can tell nothing any more.
"""

import hmac
import uuid
from collections.abc import Iterable, Sequence

from app.core.settings import Settings

IDENTITIES = b"opendsr identities\0"


class UnknownHashKey(LookupError):
    """No key of that id is configured, or it is not older than the one that is wanted."""


def hash_instances(
    ids: Iterable[str], tenant_id: uuid.UUID, settings: Settings, key_id: str | None = None
) -> list[bytes]:
    """32 bytes per id, in order, under the key `key_id` (the newest, without). About a microsecond each and
    layer. Raises `UnknownHashKey`."""
    return _through((instance.encode() for instance in ids), _keys(tenant_id, settings, None, key_id))


def advance_hashes(
    hashes: Iterable[bytes], tenant_id: uuid.UUID, settings: Settings, before: str, after: str | None = None
) -> list[bytes]:
    """Hashes under the key `before`, brought under `after` (the newest, without). Raises `UnknownHashKey`."""
    return _through(hashes, _keys(tenant_id, settings, before, after))


def hash_identities(
    written: Iterable[bytes], tenant_id: uuid.UUID, settings: Settings, key_id: str | None = None
) -> list[bytes]:
    """As `hash_instances`, of people's identities: under keys of their own. Raises `UnknownHashKey`."""
    return _through(written, _keys(tenant_id, settings, None, key_id, IDENTITIES))


def advance_identities(
    hashes: Iterable[bytes], tenant_id: uuid.UUID, settings: Settings, before: str
) -> list[bytes]:
    """As `advance_hashes`, to the newest key. Raises `UnknownHashKey`."""
    return _through(hashes, _keys(tenant_id, settings, before, None, IDENTITIES))


def _through(values: Iterable[bytes], keys: Sequence[bytes]) -> list[bytes]:
    for key in keys:
        values = [hmac.digest(key, value, "sha256") for value in values]
    return list(values)


def _keys(
    tenant_id: uuid.UUID, settings: Settings, after: str | None, up_to: str | None, purpose: bytes = b""
) -> list[bytes]:
    chain = [(old.id, old.key) for old in settings.old_hash_keys] + [
        (settings.hash_key_id, settings.hash_key)
    ]
    ids = [key_id for key_id, _ in chain]
    last = settings.hash_key_id if up_to is None else up_to
    if last not in ids or (after is not None and after not in ids):
        raise UnknownHashKey(last if last not in ids else after)
    first, end = ids.index(after) + 1 if after is not None else 0, ids.index(last) + 1
    if first > end:
        raise UnknownHashKey(last)
    return [
        hmac.digest(bytes.fromhex(key.get_secret_value()), purpose + tenant_id.bytes, "sha256")
        for _, key in chain[first:end]
    ]
