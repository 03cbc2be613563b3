"""Data is read whole once, and again as soon as anything about its files has changed."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from worker.engine.data import Description
from worker.pipeline import verification
from worker.pipeline.verification import describe_and_remember, has_fingerprint

LONG_AGO = 10.0


class Reader:
    """Stands in for reading: what it says of the data is its bytes, and it counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        monkeypatch.setattr(verification, "describe", self.describe)

    def describe(self, format: str, path: Path) -> Description:
        self.times += 1
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        return Description([], {}, (), "|".join(file.read_text() for file in files))


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(monkeypatch)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that have been there for a while: the clock stands later than it is."""
    folder = tmp_path / "train" / "image"
    folder.mkdir(parents=True)
    (folder / "0.npy").write_text("zero")
    (folder / "1.npy").write_text("one")
    now = time.time
    monkeypatch.setattr(verification.time, "time", lambda: now() + LONG_AGO)
    return folder.parent


def test_the_second_job_does_not_read_the_data(reader: Reader, data: Path, tmp_path: Path) -> None:
    known = describe_and_remember("arrays", data, tmp_path).fingerprint
    assert has_fingerprint("arrays", data, known, tmp_path)
    assert reader.times == 1
    assert not has_fingerprint("arrays", data, "another", tmp_path)
    assert not has_fingerprint("arrays", data, None, tmp_path)
    assert reader.times == 3


def test_a_change_is_seen_though_size_and_time_of_modification_were_put_back(
    reader: Reader, data: Path, tmp_path: Path
) -> None:
    known = describe_and_remember("arrays", data, tmp_path).fingerprint
    file = data / "image" / "0.npy"
    times = file.stat()
    file.write_text("ZERO")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not has_fingerprint("arrays", data, known, tmp_path)


@pytest.mark.parametrize("change", ["added", "removed", "renamed"])
def test_files_that_come_and_go_are_seen(reader: Reader, data: Path, tmp_path: Path, change: str) -> None:
    known = describe_and_remember("arrays", data, tmp_path).fingerprint
    file = data / "image" / "0.npy"
    if change == "added":
        (data / "image" / "2.npy").write_text("two")
    elif change == "removed":
        file.unlink()
    else:
        file.rename(data / "image" / "7.npy")
    assert not has_fingerprint("arrays", data, known, tmp_path)


def test_touched_files_are_read_again_and_accepted(reader: Reader, data: Path, tmp_path: Path) -> None:
    known = describe_and_remember("arrays", data, tmp_path).fingerprint
    os.utime(data / "image" / "0.npy")
    assert [has_fingerprint("arrays", data, known, tmp_path) for _ in range(3)] == [True] * 3
    assert reader.times == 2


def test_what_changed_a_moment_ago_is_not_trusted(
    reader: Reader, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_SETTLED_SECONDS", 3600.0)
    known = describe_and_remember("arrays", data, tmp_path).fingerprint
    assert has_fingerprint("arrays", data, known, tmp_path)
    assert reader.times == 2


def test_after_a_while_the_data_is_read_again(
    reader: Reader, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = describe_and_remember("arrays", data, tmp_path).fingerprint
    monkeypatch.setattr(verification, "TRUSTED_SECONDS", 0.0)
    assert has_fingerprint("arrays", data, known, tmp_path)
    assert reader.times == 2


def test_a_note_that_was_cut_short_is_no_note(reader: Reader, data: Path, tmp_path: Path) -> None:
    known = describe_and_remember("arrays", data, tmp_path).fingerprint
    (note,) = (tmp_path / "verified").iterdir()
    note.write_text(note.read_text()[:10])
    assert has_fingerprint("arrays", data, known, tmp_path)
    assert reader.times == 2


def test_a_single_file_and_a_real_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr(verification.time, "time", lambda: now() + LONG_AGO)
    file = tmp_path / "data.npz"
    np.savez(file, ids=np.arange(3), inputs=np.ones((3, 2)), colour=np.zeros(3, dtype=np.int64))
    known = describe_and_remember("arrays", file, tmp_path).fingerprint
    assert has_fingerprint("arrays", file, known, tmp_path)
    np.savez(file, ids=np.arange(3), inputs=np.zeros((3, 2)), colour=np.zeros(3, dtype=np.int64))
    assert not has_fingerprint("arrays", file, known, tmp_path)
