"""Stored bytes come back whole, in part, or not at all."""

import hashlib
import signal
import subprocess
import sys
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


KILLED_HALF_WAY = """
import os, signal, sys
from app.core.storage import CHUNK, Storage
def chunks():
    for _ in range(4):
        yield b"x" * CHUNK
    os.kill(os.getpid(), signal.SIGKILL)
Storage(sys.argv[1]).put("t/checkpoint/3", chunks())
"""


def test_what_a_killed_writer_left_goes_with_the_object(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}/storage")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_HALF_WAY, f"file://{tmp_path}/storage"], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    files = [file for file in (tmp_path / "storage").rglob("*") if file.is_file()]
    assert len(files) == 1  # a name of its own: the object itself is not there
    with pytest.raises(NotStored):
        storage.size("t/checkpoint/3")
    storage.delete("t/checkpoint/3")
    assert [file for file in (tmp_path / "storage").rglob("*") if file.is_file()] == []


def test_a_transfer_can_be_ended_between_two_pieces(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * (3 * CHUNK))

    def stop() -> None:
        raise InterruptedError("cancelled")

    with pytest.raises(InterruptedError):
        storage.put_file("t/checkpoint/4", source, stop)
    with pytest.raises(NotStored):
        storage.size("t/checkpoint/4")
    storage.put_file("t/checkpoint/4", source)
    with pytest.raises(InterruptedError):
        storage.copy_to("t/checkpoint/4", tmp_path / "copy", stop)
