"""The same promises on an S3-compatible store as on a folder: whole, in part, encrypted, or not at all."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from moto.server import ThreadedMotoServer

from app.core.artifact_keys import IDENTITY, KeyMissing
from app.core.object_store import PART, ObjectStore
from app.core.sealed_format import CHUNK
from app.core.settings import Settings
from app.core.storage import Damaged, NotStored, Storage, open_storage

PATH = "tenant/checkpoint/one"
CONTENT = os.urandom(PART + CHUNK + 7)  # an upload in parts, whose last one is small


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Parts that are too small are refused, as by S3 itself."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    url = f"http://{host}:{port}"
    for bucket in ("artifacts", "keys"):
        assert httpx.put(f"{url}/{bucket}").status_code == 200
    yield url
    running.stop()


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def storage(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Storage:
    """Below a prefix of this test's own."""
    for name, value in {
        "ENDPOINT": server,
        "ALLOW_HTTP": "true",
        "REGION": "us-east-1",
        "ACCESS_KEY_ID": "nobody",
        "SECRET_ACCESS_KEY": "nothing",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    (tmp_path / "master").write_text("ab" * 32)
    keys = {"master_key_file": str(tmp_path / "master"), "key_store_url": f"s3://keys/{tmp_path.name}"}
    plain = {"database_url": "x", "broker_url": "x", "hash_key": "0" * 64}
    plain |= {"storage_url": f"s3://artifacts/{tmp_path.name}"}
    return open_storage(Settings(**plain | (keys if request.param else {})))


def test_bytes_come_back_whole_and_in_part(storage: Storage, tmp_path: Path) -> None:
    written = storage.put(PATH, (CONTENT[at : at + 65536] for at in range(0, len(CONTENT), 65536)))
    assert (written.size, storage.size(PATH)) == (len(CONTENT), len(CONTENT))
    assert storage.measure(PATH).sha256 == written.sha256
    for start, end in (
        (0, 1),
        (CHUNK - 1, CHUNK + 1),
        (PART - 3, PART + 3),
        (5, 5),
        (len(CONTENT) - 9, None),
    ):
        assert b"".join(storage.read(PATH, start, end)) == CONTENT[start:end]
    assert storage.copy_to(PATH, tmp_path / "copy").sha256 == written.sha256
    assert list(storage.list("tenant")) == [PATH]
    storage.delete(PATH)
    storage.delete(PATH)
    for look in (storage.size, lambda path: list(storage.read(path))):
        with pytest.raises(NotStored):
            look(PATH)


def test_an_upload_that_breaks_leaves_nothing(storage: Storage) -> None:
    def breaks() -> Iterator[bytes]:
        yield CONTENT
        yield CONTENT
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError, match="went away"):
        storage.put(PATH, breaks())
    with pytest.raises(NotStored):
        storage.size(PATH)


def test_what_lies_there_is_readable_by_nobody_without_its_key(storage: Storage, tmp_path: Path) -> None:
    key_store = storage.put(PATH, [CONTENT]).key_store
    beside = ObjectStore(f"s3://artifacts/{tmp_path.name}")
    link = beside.presigned_url(PATH, timedelta(minutes=1))
    assert link is not None
    stored = httpx.get(link).content
    if storage.keys is None:
        assert (stored, key_store) == (CONTENT, None)
        return
    assert not any(CONTENT[at : at + 32] in stored for at in (0, CHUNK, PART, len(CONTENT) - 32))
    keys = ObjectStore(f"s3://keys/{tmp_path.name}")
    assert not keys.create(IDENTITY, b"another"), "two that come first at once agree on one"
    assert storage.keys.id == key_store

    beside.replace(PATH, stored[: len(stored) // 2])
    with pytest.raises(Damaged):
        list(storage.read(PATH))
    storage.delete(PATH)
    assert storage.is_erased(PATH, key_store)
    assert list(keys.list("tenant")) == []
    beside.replace(PATH, stored)  # an old version of the bucket, or a backup
    with pytest.raises(KeyMissing):
        list(storage.read(PATH, 262_100, 262_200))
