"""Things are called by name or by id; a name never looks like an id, so that one path serves both."""

import re
import uuid

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def as_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None
