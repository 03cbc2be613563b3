"""Clients' data: a folder is read in place, a bucket is copied, and only ever below the allowed roots."""

from pathlib import Path

import pytest
from obstore.store import MemoryStore

from worker.engine.contract import Refused
from worker.pipeline.fetch import fetch

ROOTS = ["s3://bucket/ours"]


@pytest.fixture
def bucket() -> MemoryStore:
    store = MemoryStore()
    store.put("ours/train/a.npy", b"a" * 10)
    store.put("ours/train/b.npy", b"b" * 20)
    store.put("ours/train/deep/c.npy", b"c")
    store.put("ours/one.npz", b"one")
    return store


def get(bucket: MemoryStore, cache: Path, url: str) -> Path:
    return fetch(url, ROOTS, cache, check=lambda: None, open_store=lambda _: bucket)


def test_an_object_or_a_folder_of_objects_is_copied(bucket: MemoryStore, tmp_path: Path) -> None:
    assert get(bucket, tmp_path, "s3://bucket/ours/one.npz").read_bytes() == b"one"
    folder = get(bucket, tmp_path, "s3://bucket/ours/train")
    assert {file.name: file.stat().st_size for file in folder.iterdir()} == {"a.npy": 10, "b.npy": 20}


def test_copies_are_used_again_until_something_changes_and_then_removed(
    bucket: MemoryStore, tmp_path: Path
) -> None:
    first = get(bucket, tmp_path, "s3://bucket/ours/train")
    assert get(bucket, tmp_path, "s3://bucket/ours/train") == first
    bucket.put("ours/train/b.npy", b"B" * 20)
    second = get(bucket, tmp_path, "s3://bucket/ours/train")
    assert (second / "b.npy").read_bytes() == b"B" * 20
    assert not first.exists()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("s3://bucket/ours/missing", "data_vanished"),
        ("s3://bucket/theirs/one.npz", "url_not_allowed"),
        ("s3://other/ours/one.npz", "url_not_allowed"),
        ("s3://bucket/ours/../theirs", "url_invalid"),
        ("file:///etc/hostname", "url_not_allowed"),
    ],
)
def test_what_is_not_there_or_not_allowed_is_refused(
    bucket: MemoryStore, tmp_path: Path, url: str, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        get(bucket, tmp_path, url)
    assert refused.value.code == code


def test_a_copy_that_was_interrupted_leaves_nothing_that_looks_whole(
    bucket: MemoryStore, tmp_path: Path
) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        fetch("s3://bucket/ours/train", ROOTS, tmp_path, check=stop, open_store=lambda _: bucket)
    assert len(list(get(bucket, tmp_path, "s3://bucket/ours/train").iterdir())) == 2
