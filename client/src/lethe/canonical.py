"""Files and lines in canonical JSON (RFC 8785): there is one way to write each, so every byte counts."""

import json
from typing import Any

import rfc8785

from lethe.findings import NotVerified


def parse(content: bytes, what: str) -> Any:
    """Raises `NotVerified` unless `content` is JSON in its canonical form, to the byte."""
    try:
        value = json.loads(content)
        written = rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        raise NotVerified(f"{what} cannot be read: it was damaged, or is something else.") from error
    if written != content:
        raise NotVerified(
            f"{what} is not written as it was issued: something was changed in it, if only a space. Fetch it "
            "again and keep it as it comes."
        )
    return value


def canonical(value: Any) -> bytes:
    written: bytes = rfc8785.dumps(value)
    return written
