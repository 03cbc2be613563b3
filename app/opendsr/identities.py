"""Identities of people: their normal form, and the keyed hashes by which they are looked up.

A hashed identity (sha256, sha1, md5 in hexadecimal) can be matched with a raw one only if both sides wrote
the raw one alike before hashing. Ours: without blanks around it; e-mail addresses and the ids of devices in
lower case.
"""

import hashlib
import hmac
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from app.core.settings import Settings

# Specification, section 5.1.
TYPES = (
    "controller_customer_id",
    "android_advertising_id",
    "android_id",
    "email",
    "fire_advertising_id",
    "ios_advertising_id",
    "ios_vendor_id",
    "microsoft_advertising_id",
    "microsoft_publisher_id",
    "roku_publisher_id",
    "roku_advertising_id",
)
# Section 5.2: format → digits of its hash.
HASHES = {"sha256": 64, "sha1": 40, "md5": 32}
FORMATS = ("raw", *HASHES)
_AS_WRITTEN = ("controller_customer_id", "microsoft_publisher_id", "roku_publisher_id")


@dataclass(frozen=True, slots=True)
class Identity:
    """`value` in its normal form."""

    type: str
    format: str
    value: str


def identity(type: str, format: str, value: str) -> Identity:
    """Raises `ValueError` with a sentence that does not hold the value."""
    if type not in TYPES:
        raise ValueError(f"identity_type must be one of {', '.join(TYPES)}")
    if format not in FORMATS:
        raise ValueError(f"identity_format must be one of {', '.join(FORMATS)}")
    normal = value.strip()
    if not normal or "\0" in normal:
        raise ValueError("identity_value is empty or holds a NUL character")
    if format != "raw":
        normal = normal.lower()
        if not re.fullmatch(f"[0-9a-f]{{{HASHES[format]}}}", normal):
            raise ValueError(f"identity_value is not a {format} in hexadecimal")
    elif type not in _AS_WRITTEN:
        normal = normal.lower()
    return Identity(type, format, normal)


def stored_hashes(one: Identity, key: bytes) -> list[bytes]:
    """All by which it can be looked up: of a raw one, one per kind of hash."""
    if one.format != "raw":
        return [_keyed(one.type, one.format, one.value, key)]
    return [_keyed(one.type, name, _digest(name, one.value), key) for name in HASHES]


def looked_up_hash(one: Identity, key: bytes) -> bytes:
    if one.format != "raw":
        return _keyed(one.type, one.format, one.value, key)
    return _keyed(one.type, "sha256", _digest("sha256", one.value), key)


def key_of(tenant_id: uuid.UUID, settings: Settings) -> bytes:
    """The tenant's, apart from that of its instance hashes."""
    master = bytes.fromhex(settings.hash_key.get_secret_value())
    return hmac.digest(master, b"opendsr identities\0" + tenant_id.bytes, "sha256")


def looked_up_hashes(identities: Iterable[Identity], tenant_id: uuid.UUID, settings: Settings) -> list[bytes]:
    key = key_of(tenant_id, settings)
    return [looked_up_hash(one, key) for one in identities]


def _digest(name: str, value: str) -> str:
    return hashlib.new(name, value.encode(), usedforsecurity=False).hexdigest()


def _keyed(type: str, format: str, digest: str, key: bytes) -> bytes:
    return hmac.digest(key, f"{type}\0{format}\0{digest}".encode(), "sha256")
