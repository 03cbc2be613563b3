"""Identities of people: their normal form, and what they are looked up by once it is hashed with a key.

A hashed identity (sha256, sha1, md5 in hexadecimal) can be matched with a raw one only if both sides wrote
the raw one alike before hashing. Ours: without blanks around it; e-mail addresses and the ids of devices in
lower case.
"""

import hashlib
import re
from dataclasses import dataclass

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


def stored(one: Identity) -> list[bytes]:
    """All that it can be looked up by: of a raw one, one per kind of hash."""
    if one.format != "raw":
        return [_written(one.type, one.format, one.value)]
    return [_written(one.type, name, _digest(name, one.value)) for name in HASHES]


def looked_up(one: Identity) -> bytes:
    """One of those that were stored for it."""
    if one.format != "raw":
        return _written(one.type, one.format, one.value)
    return _written(one.type, "sha256", _digest("sha256", one.value))


def _digest(name: str, value: str) -> str:
    return hashlib.new(name, value.encode(), usedforsecurity=False).hexdigest()


def _written(type: str, format: str, digest: str) -> bytes:
    return f"{type}\0{format}\0{digest}".encode()
