"""Encrypted bytes: any range is the content's, and whatever was done to them is noticed."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.sealed_format import HEADER, TAG, Damaged, read_layout, seal, unseal

CHUNK = 8
KEY, SALT = bytes(range(32)), bytes(range(16))
contents = st.binary(max_size=5 * CHUNK + 1)


def sealed(content: bytes, salt: bytes = SALT, blocks: int = 3) -> bytes:
    pieces = (content[start : start + blocks] for start in range(0, len(content), blocks))
    return b"".join(seal(pieces, KEY, salt, CHUNK))


def opened(
    stored: bytes, start: int = 0, end: int | None = None, key: bytes = KEY, at_once: int = 2
) -> bytes:
    layout = read_layout(stored[:HEADER], len(stored))

    def fetch(place: int, length: int) -> bytes:
        assert 0 <= place <= place + length <= len(stored), "read beyond the object's end"
        return stored[place : place + length]

    return b"".join(unseal(layout, key, fetch, start, layout.size if end is None else end, at_once))


def parts(stored: bytes) -> Iterator[bytes]:
    body = stored[HEADER:]
    return (body[start : start + CHUNK + TAG] for start in range(0, len(body), CHUNK + TAG))


@given(contents, st.integers(0, 50), st.integers(0, 50), st.integers(1, 20), st.integers(1, 4))
def test_any_range_is_the_contents(content: bytes, start: int, end: int, blocks: int, at_once: int) -> None:
    stored = sealed(content, blocks=blocks)
    assert read_layout(stored[:HEADER], len(stored)).size == len(content)
    assert opened(stored, start, end, at_once=at_once) == content[start:end]
    assert opened(stored) == content


@given(contents, st.data())
def test_any_flipped_bit_is_noticed(content: bytes, data: st.DataObject) -> None:
    stored = bytearray(sealed(content))
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Damaged):
        opened(bytes(stored))


@given(contents, st.data())
def test_any_end_that_was_cut_off_or_put_on_is_noticed(content: bytes, data: st.DataObject) -> None:
    stored = sealed(content)
    with pytest.raises(Damaged):
        opened(stored[: data.draw(st.integers(0, len(stored) - 1))])
    with pytest.raises(Damaged):
        opened(stored + data.draw(st.binary(min_size=1, max_size=2 * (CHUNK + TAG))))
    with pytest.raises(Damaged):  # a whole chunk of another object under the same key
        opened(stored + b"".join(parts(sealed(b"other", salt=bytes(16)))))


@given(st.binary(min_size=2 * CHUNK + 1, max_size=5 * CHUNK + 1), st.data())
def test_chunks_that_were_dropped_repeated_or_put_in_another_order_are_noticed(
    content: bytes, data: st.DataObject
) -> None:
    stored = sealed(content)
    whole = list(parts(stored))
    places = st.integers(0, len(whole) - 1)
    dropped, repeated, swapped = list(whole), list(whole), list(whole)
    del dropped[data.draw(places)]
    repeated.insert(data.draw(places), whole[data.draw(places)])
    one, other = data.draw(st.lists(places, min_size=2, max_size=2, unique=True))
    swapped[one], swapped[other] = swapped[other], swapped[one]
    for changed in (dropped, repeated, swapped):
        with pytest.raises(Damaged):
            opened(stored[:HEADER] + b"".join(changed))


@given(contents)
def test_another_key_or_another_objects_header_opens_nothing(content: bytes) -> None:
    stored, other = sealed(content), sealed(content, salt=bytes(16))
    with pytest.raises(Damaged):
        opened(stored, key=bytes(32))
    with pytest.raises(Damaged):
        opened(other[:HEADER] + stored[HEADER:])
    assert other[HEADER:] != stored[HEADER:]
