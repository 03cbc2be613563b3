"""Fields of a network specification that may be left out: a default, and bounds for what is given."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.engine.networks.fields import invalid


def integer(spec: Mapping[str, Any], field: str, default: int, low: int, high: int) -> int:
    """Raises `Refused("network_spec_invalid")`."""
    value = spec.get(field, default)
    if not _is_within(value, low, high):
        raise invalid(field, f"an integer from {low} to {high}")
    return int(value)


def integers(
    spec: Mapping[str, Any],
    field: str,
    default: Sequence[int],
    low: int,
    high: int,
    *,
    length: int | None = None,
) -> list[int]:
    """Exactly `length` of them, or 1 to 8. Raises `Refused("network_spec_invalid")`."""
    value = spec.get(field, default)
    lengths = range(1, 9) if length is None else range(length, length + 1)
    if (
        not isinstance(value, (list, tuple))
        or len(value) not in lengths
        or not all(_is_within(item, low, high) for item in value)
    ):
        count = "1 to 8" if length is None else str(length)
        raise invalid(field, f"a list of {count} integers from {low} to {high}")
    return [int(item) for item in value]


def share(spec: Mapping[str, Any], field: str, default: float) -> float:
    """A probability below 1, as of dropout. Raises `Refused("network_spec_invalid")`."""
    value = spec.get(field, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise invalid(field, "a number from 0 up to, but not including, 1")
    return float(value)


def _is_within(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
