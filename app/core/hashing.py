"""Instance ids as keyed hashes: all that Lethe keeps of them.

HMAC-SHA-256 (RFC 2104) under a key derived per tenant, so that neither a stolen database without the
key nor another tenant's rows tell who is in it.
"""

import hmac
import uuid
from collections.abc import Iterable

from app.core.settings import Settings


def hash_instances(ids: Iterable[str], tenant_id: uuid.UUID, settings: Settings) -> list[bytes]:
    """32 bytes per id, in order. About a microsecond each."""
    key = hmac.digest(bytes.fromhex(settings.hash_key.get_secret_value()), tenant_id.bytes, "sha256")
    return [hmac.digest(key, instance.encode(), "sha256") for instance in ids]
