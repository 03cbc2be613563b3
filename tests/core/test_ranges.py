"""Range and conditional headers, by RFC 9110."""

import pytest

from app.core.errors import RangeUnsatisfiable
from app.core.ranges import Part, none_match_says_unchanged, requested_part

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-", Part(0, 10)),
        ("bytes=0-9", Part(0, 10)),
        ("bytes=9-", Part(9, 10)),
        ("bytes = 2-3", Part(2, 4)),
        ("bytes=2-3, 5-6", None),
        ("bytes=3-2", None),
        ("bytes=-3", Part(7, 10)),
        ("bytes=-30", Part(0, 10)),
        ("bytes=x-3", None),
        ("bytes=-", None),
        ("lines=0-1", None),
        ("bytes=\u0661-2", None),
    ],
)
def test_ranges(header: str | None, expected: Part | None) -> None:
    assert requested_part(header, None, ETAG, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-11", "bytes=-0"])
def test_ranges_outside(header: str) -> None:
    with pytest.raises(RangeUnsatisfiable):
        requested_part(header, None, ETAG, 10)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-1"])
def test_nothing_has_no_parts(header: str) -> None:
    with pytest.raises(RangeUnsatisfiable):
        requested_part(header, None, ETAG, 0)


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [(ETAG, True), (f"W/{ETAG}", False), ('"other"', False), ("Mon, 01 Jan 2024 00:00:00 GMT", False)],
)
def test_if_range_compares_strongly(if_range: str, applies: bool) -> None:
    assert (requested_part("bytes=0-1", if_range, ETAG, 10) is not None) is applies


@pytest.mark.parametrize(
    ("header", "unchanged"),
    [(None, False), ("*", True), (ETAG, True), (f"W/{ETAG}", True), (f'"x", {ETAG}', True), ('"x"', False)],
)
def test_if_none_match_compares_weakly(header: str | None, unchanged: bool) -> None:
    assert none_match_says_unchanged(header, ETAG) is unchanged
