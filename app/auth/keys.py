"""What an API key looks like: `lethe_<public id>_<secret>`. Of the secret only its SHA-256 is stored."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

_KEY = re.compile(r"lethe_([a-z0-9]{8,32})_([A-Za-z0-9]{20,128})")


class Scope(StrEnum):
    REQUESTS_WRITE = "requests:write"
    REQUESTS_READ = "requests:read"
    MODELS_WRITE = "models:write"
    MODELS_READ = "models:read"
    AUDIT_READ = "audit:read"
    ADMIN = "admin"  # implies all others


# What a key can be limited to single models in. The others are about more than models.
OF_MODELS = frozenset({Scope.REQUESTS_WRITE, Scope.REQUESTS_READ, Scope.MODELS_WRITE, Scope.MODELS_READ})


@dataclass(frozen=True)
class MintedKey:
    """`text` is shown once, to whoever asked for it."""

    text: str
    public_id: str
    secret_sha256: bytes


def mint_key() -> MintedKey:
    """192 random bits: too many to guess, so that a fast hash is enough to store them under."""
    public_id, secret = secrets.token_hex(6), secrets.token_hex(24)
    return MintedKey(f"lethe_{public_id}_{secret}", public_id, hash_secret(secret))


def hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def parse_key(text: str) -> tuple[str, str] | None:
    """(public id, secret), or None when it is no key of ours."""
    matched = _KEY.fullmatch(text)
    return (matched[1], matched[2]) if matched else None
