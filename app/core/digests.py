"""Digest fields of HTTP: `Repr-Digest: sha-256=:base64:` (RFC 9530)."""

import base64
import binascii
import re

from app.core.errors import InvalidInput

# A structured-fields dictionary (RFC 8941) whose members are byte sequences.
_MEMBER = re.compile(r"\s*([a-z0-9-]+)=:([A-Za-z0-9+/=]*):\s*")


def repr_digest(sha256: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def expected_sha256(header: str | None) -> bytes | None:
    """The SHA-256 that a client announced; None when it announced none, or only in other algorithms.

    Raises `InvalidInput`, code digest_invalid.
    """
    if header is None:
        return None
    for member in header.split(","):
        matched = _MEMBER.fullmatch(member)
        if matched is None:
            raise _invalid()
        if matched[1] == "sha-256":
            try:
                digest = base64.b64decode(matched[2], validate=True)
            except binascii.Error:
                raise _invalid() from None
            if len(digest) != 32:
                raise _invalid()
            return digest
    return None


def _invalid() -> InvalidInput:
    return InvalidInput(
        "Repr-Digest must look like sha-256=:<base64 of 32 bytes>: (RFC 9530).", code="digest_invalid"
    )
