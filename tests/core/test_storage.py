"""Stored bytes come back whole, in part, or not at all."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.storage import CHUNK, NotStored, Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(f"file://{tmp_path}/storage")


def test_bytes_come_back_with_their_digest(storage: Storage) -> None:
    content = bytes(range(256)) * (CHUNK // 128)
    written = storage.put("t/checkpoint/1", (content[i : i + 65536] for i in range(0, len(content), 65536)))
    assert written.size == len(content) == storage.size("t/checkpoint/1")
    assert written.sha256 == hashlib.sha256(content).digest()
    assert b"".join(storage.read("t/checkpoint/1")) == content


@pytest.mark.parametrize(("start", "end"), [(0, 1), (5, 5), (CHUNK - 1, CHUNK + 1), (CHUNK, None)])
def test_ranges(storage: Storage, start: int, end: int | None) -> None:
    content = bytes(i % 251 for i in range(CHUNK + 100))
    storage.put("a", [content])
    assert b"".join(storage.read("a", start, end)) == content[start:end]


def test_an_upload_that_breaks_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    def breaks() -> Iterator[bytes]:
        yield b"x" * (CHUNK * 3)
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError, match="went away"):
        storage.put("t/checkpoint/2", breaks())
    with pytest.raises(NotStored):
        storage.size("t/checkpoint/2")
    assert [file for file in (tmp_path / "storage").rglob("*") if file.is_file()] == []


def test_what_is_not_there(storage: Storage) -> None:
    with pytest.raises(NotStored):
        list(storage.read("nothing"))
    storage.delete("nothing")


def test_an_empty_object(storage: Storage) -> None:
    assert storage.put("empty", []).size == 0
    assert list(storage.read("empty")) == []
