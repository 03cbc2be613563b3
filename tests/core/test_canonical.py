"""The quick way to canonical JSON writes what the library writes, byte for byte."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from app.core import canonical as module
from app.core.canonical import canonical

KEYS = st.text(max_size=5) | st.sampled_from(["a", "B", "é", "€", "😀", "\ufb33", "\x7f", "\\", '"'])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 53) + 1, (1 << 53) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["\x00\x1f\x7f\u2028", "\b\f\n\r\t/<\\\"'", "€😀"])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
)


@given(VALUES)
def test_it_is_the_canonical_form(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


def test_keys_are_in_the_order_of_utf_16() -> None:
    """The example of RFC 8785 section 3.2.3, where code points would be in another order."""
    assert canonical({"\ufb33": 1, "😀": 2}) == '{"😀":2,"\ufb33":1}'.encode()


@given(VALUES)
def test_the_quick_way_is_taken_where_nothing_but_it_is_needed(value: Any) -> None:
    """Whatever has floats or keys beyond ASCII goes to the library."""
    if module._is_plain(value):
        assert module._encode(value).encode() == rfc8785.dumps(value)


def test_a_row_of_the_log_goes_the_quick_way() -> None:
    entry = {
        "id": 7,
        "at": "2026-11-27T00:00:00Z",
        "actor": "relay",
        "subject": None,
        "data": {"tasks": ["é"]},
    }
    assert module._is_plain({"entry": entry, "position": 1, "previous": "00"})


@pytest.mark.parametrize("number", [1 << 53, -(1 << 53), 10**30])
def test_integers_that_a_double_cannot_hold_are_text(number: int) -> None:
    assert canonical({"n": [number]}) == f'{{"n":["{number}"]}}'.encode()


@pytest.mark.parametrize("value", ["\ud800", {"a": float("nan")}, [float("inf")], {"\udfff": 1}])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (whichever it is)
        canonical(value)


def test_endless_nesting_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="nested"):
        canonical(value)
