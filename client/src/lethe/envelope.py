"""DSSE envelopes around in-toto Statements v1: the signature first, then everything else."""

import base64
from dataclasses import dataclass
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from lethe.canonical import parse
from lethe.findings import NotVerified

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


@dataclass(frozen=True)
class Statement:
    """A statement whose signature was checked. `subjects`: name → SHA-256, hexadecimal."""

    type: str
    subjects: dict[str, str]
    predicate: dict[str, Any]
    key_id: str


def open_envelope(content: bytes, keys: list[SSlibKey], what: str) -> Statement:
    """Raises `NotVerified` unless `content` is, to the byte, an envelope signed by one of the keys."""
    members = parse(content, what)
    try:
        key_id = _checked_signature(members, keys, what)
        payload = base64.b64decode(members["payload"], validate=True)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotVerified(f"{what} is not a signed envelope (DSSE).") from error
    statement = parse(payload, f"The statement in {what[0].lower()}{what[1:]}")
    try:
        if statement["_type"] != STATEMENT_TYPE:
            raise NotVerified(f"{what} holds no in-toto Statement v1.")
        subjects = {entry["name"]: entry["digest"]["sha256"] for entry in statement["subject"]}
        return Statement(statement["predicateType"], subjects, statement["predicate"], key_id)
    except (KeyError, TypeError) as error:
        raise NotVerified(f"{what} holds no in-toto Statement v1.") from error


def _checked_signature(members: dict[str, Any], keys: list[SSlibKey], what: str) -> str:
    """The id of the key that signed. Exactly one signature, and nothing beside what is signed."""
    [signature] = members["signatures"]
    envelope = Envelope.from_dict({**members, "signatures": [dict(signature)]})
    if envelope.to_dict() != members or set(signature) != {"keyid", "sig"}:
        raise NotVerified(f"{what} has parts that no envelope of the service has: it was changed.")
    if envelope.payload_type != PAYLOAD_TYPE:
        raise NotVerified(f"{what} is of another type: {envelope.payload_type}.")
    [named] = envelope.signatures
    if named not in {key.keyid for key in keys}:
        raise NotVerified(
            f"{what} says that it was signed with the key {named[:16]}…, which is not among the given ones."
        )
    try:
        envelope.verify(list(keys), 1)
    except VerificationError as error:
        raise NotVerified(
            f"The signature does not match: {what[0].lower()}{what[1:]} was changed."
        ) from error
    return named
