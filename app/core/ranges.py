"""Conditional and range requests on content with a strong validator (RFC 9110 sections 13 and 14)."""

import re
from dataclasses import dataclass

from app.core.errors import RangeUnsatisfiable

_RANGE = re.compile(r"bytes\s*=\s*(\d*)-(\d*)", re.ASCII)
_MAX_DIGITS = 19


@dataclass(frozen=True)
class Part:
    """The bytes from `start` up to and without `end`."""

    start: int
    end: int


def none_match_says_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Weak comparison, as section 13.1.2 asks."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags


def requested_part(range_header: str | None, if_range: str | None, etag: str, size: int) -> Part | None:
    """The single range that is asked for, or None to send everything.

    Several ranges, other units and malformed ones are ignored, as section 14.2 allows; so is the range
    when If-Range names another representation (strong comparison; a date never matches).

    Raises `RangeUnsatisfiable`.
    """
    if range_header is None or (if_range is not None and if_range.strip() != etag):
        return None
    matched = _RANGE.fullmatch(range_header.strip())
    if matched is None or matched[1] == matched[2] == "" or max(map(len, matched.groups())) > _MAX_DIGITS:
        return None
    first, last = matched.groups()
    if first == "":  # the last n bytes
        start, end = max(0, size - int(last)), size
        if int(last) == 0:
            start = size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    if start >= size:
        raise RangeUnsatisfiable(
            f"The checkpoint has {size} bytes.", headers={"Content-Range": f"bytes */{size}"}, size=size
        )
    return Part(start, end)
