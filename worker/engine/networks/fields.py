"""Read the fields of a network specification, refusing what is missing, misspelt or out of bounds."""

from collections.abc import Mapping
from typing import Any

from worker.engine.contract import Refused

MAX_WIDTH = 1 << 20
MAX_DEPTH = 64


def invalid(field: str, expected: str) -> Refused:
    return Refused("network_spec_invalid", f"Field {field!r} of the network must be {expected}.")


def only_fields(spec: Mapping[str, Any], allowed: set[str]) -> None:
    """Raises `Refused("network_spec_invalid")` for a field that the kind does not know."""
    unknown = sorted(str(name) for name in set(spec) - allowed)
    if unknown:
        raise Refused(
            "network_spec_invalid",
            f"The network has fields that its kind does not know: {', '.join(unknown)}. "
            f"It takes {', '.join(sorted(allowed))}.",
        )


def width(spec: Mapping[str, Any], field: str) -> int:
    """A positive integer."""
    value = spec.get(field)
    if not _is_width(value):
        raise invalid(field, f"an integer from 1 to {MAX_WIDTH}")
    return int(value)  # type: ignore[arg-type]


def widths(spec: Mapping[str, Any], field: str, *, length: int | None = None) -> list[int]:
    """A list of positive integers, of the given length or of 1 to `MAX_DEPTH`."""
    value = spec.get(field)
    lengths = f"{length}" if length else f"1 to {MAX_DEPTH}"
    expected = f"a list of {lengths} integers from 1 to {MAX_WIDTH}"
    if not isinstance(value, (list, tuple)) or not all(_is_width(item) for item in value):
        raise invalid(field, expected)
    if len(value) != length if length else not 1 <= len(value) <= MAX_DEPTH:
        raise invalid(field, expected)
    return [int(item) for item in value]


def _is_width(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_WIDTH
