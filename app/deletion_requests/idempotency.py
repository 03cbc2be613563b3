"""`Idempotency-Key` (IETF draft-ietf-httpapi-idempotency-key-header): a POST that may be sent twice.

The key's row is inserted in the transaction of the request itself: a second POST with the same key waits
for the first one's commit and then finds its answer; if the first is refused, its key is free again.
"""

import hmac
import json
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import BadRequest, InvalidInput
from app.core.settings import Settings

MAX_LENGTH = 255
KEY_SCHEMA: dict[str, Any] = {"maxLength": MAX_LENGTH, "pattern": "^[ -~]*[!#-~][ -~]*$"}

# A key that is older than the operator keeps them is taken over.
_CLAIM = text("""
INSERT INTO idempotency_keys AS kept (tenant_id, key, request_sha256) VALUES (:tenant_id, :key, :digest)
ON CONFLICT (tenant_id, key) DO UPDATE
SET request_sha256 = excluded.request_sha256, status = NULL, location = NULL, body = NULL, created_at = now()
WHERE kept.created_at < now() - make_interval(hours => :hours)
RETURNING key
""")
_FIND = text(
    "SELECT request_sha256, status, location, body FROM idempotency_keys"
    " WHERE tenant_id = :tenant_id AND key = :key"
)
_KEEP = text(
    "UPDATE idempotency_keys SET status = :status, location = :location, body = CAST(:body AS jsonb)"
    " WHERE tenant_id = :tenant_id AND key = :key"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer that was given first."""

    status: int
    location: str | None
    body: dict[str, Any]


def read_key(header: str | None) -> str | None:
    """The key; the draft's quoted form and the bare one that most clients send. Raises `BadRequest`."""
    if header is None:
        return None
    key = header.strip().removeprefix('"').removesuffix('"')
    if not 0 < len(key) <= MAX_LENGTH or not key.isascii() or not key.isprintable():
        raise BadRequest(
            f"Idempotency-Key must be 1 to {MAX_LENGTH} printable ASCII characters.",
            code="idempotency_key_invalid",
        )
    return key


def request_digest(settings: Settings, method: str, path: str, body: bytes) -> bytes:
    """Keyed, because the body holds instance ids, and a plain digest could be tried out. By the oldest key:
    a body that is sent again after the keys were rotated is the same body."""
    oldest = settings.old_hash_keys[0].key if settings.old_hash_keys else settings.hash_key
    key = bytes.fromhex(oldest.get_secret_value())
    return hmac.digest(key, b"\0".join([b"idempotency", method.encode(), path.encode(), body]), "sha256")


async def claim(
    session: AsyncSession, tenant_id: uuid.UUID, key: str, digest: bytes, settings: Settings
) -> Kept | None:
    """None when the key is new, and is now this transaction's.

    Raises `InvalidInput`, code idempotency_key_reused.
    """
    bound = {"tenant_id": tenant_id, "key": key, "digest": digest, "hours": settings.idempotency_hours}
    if (await session.execute(_CLAIM, bound)).one_or_none() is not None:
        return None
    kept = (await session.execute(_FIND, {"tenant_id": tenant_id, "key": key})).one()
    if not hmac.compare_digest(bytes(kept.request_sha256), digest):
        raise InvalidInput(
            "This Idempotency-Key came with another request before; use a new key for a new request.",
            code="idempotency_key_reused",
        )
    return Kept(kept.status, kept.location, kept.body)


async def keep(session: AsyncSession, tenant_id: uuid.UUID, key: str, kept: Kept) -> None:
    bound = {
        "tenant_id": tenant_id,
        "key": key,
        "status": kept.status,
        "location": kept.location,
        "body": json.dumps(kept.body),
    }
    await session.execute(_KEEP, bound)
