"""Secrets of webhook endpoints. None is stored: each is derived (HKDF, RFC 5869) from the operator's key, the
endpoint's id and the generation that a rotation counts up. A stolen database holds nothing to sign with."""

import base64
import uuid
from collections.abc import Iterator

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from app.core.errors import Conflict
from app.core.settings import Settings

PREFIX = "whsec_"


class NoWebhookKey(Conflict):
    """The operator has not set up webhooks"""

    code = "webhooks_not_configured"


def master_keys(settings: Settings) -> list[bytes]:
    """The present one first. Raises `ValueError` when one is not 64 hexadecimal characters."""
    named = {
        "LETHE_WEBHOOK_KEY": settings.webhook_key,
        "LETHE_WEBHOOK_PREVIOUS_KEY": settings.webhook_previous_key,
    }
    return [_read(name, key) for name, key in named.items() if key is not None and key.get_secret_value()]


def secret_of(settings: Settings, endpoint_id: uuid.UUID, generation: int) -> str:
    """As the endpoint's owner gets it: whsec_ and base64. Raises `NoWebhookKey`."""
    if settings.webhook_key is None or not settings.webhook_key.get_secret_value():
        raise NoWebhookKey(
            "This service has no key to derive webhook secrets from: "
            "its operator has to set LETHE_WEBHOOK_KEY."
        )
    return _text(derive(master_keys(settings)[0], endpoint_id, generation))


def signing_secrets(
    keys: list[bytes], endpoint_id: uuid.UUID, generation: int, *, previous: bool
) -> Iterator[str]:
    """All that sign now: of each key the present generation and, while `previous`, the one before."""
    generations = [generation, generation - 1] if previous and generation > 1 else [generation]
    for key in keys:
        for number in generations:
            yield _text(derive(key, endpoint_id, number))


def derive(key: bytes, endpoint_id: uuid.UUID, generation: int) -> bytes:
    """32 bytes."""
    info = b"lethe webhook secret\0" + endpoint_id.bytes + generation.to_bytes(8, "big")
    return HKDF(SHA256(), 32, salt=None, info=info).derive(key)


def _text(secret: bytes) -> str:
    return PREFIX + base64.b64encode(secret).decode()


def _read(name: str, key: SecretStr) -> bytes:
    try:
        read = bytes.fromhex(key.get_secret_value())
    except ValueError:
        read = b""
    if len(read) != 32:
        raise ValueError(f"{name} must be 64 hexadecimal characters, such as `openssl rand -hex 32` makes.")
    return read
