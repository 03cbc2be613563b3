"""Canonical JSON (RFC 8785): the one form in which a value is hashed, signed and handed out."""

from typing import Any

import rfc8785

# RFC 8785 section 3.2.2.3: a number must survive being read as a double.
_MOST = (1 << 53) - 1


def canonical(value: Any) -> bytes:
    """`value` in its canonical form. Integers that a double cannot hold are written as text.

    Raises `ValueError` for what has no such form: NaN, infinities, lone surrogates, endless nesting.
    """
    try:
        return rfc8785.dumps(_representable(value))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _representable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _representable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_representable(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _MOST:
        return str(value)
    return value
