"""Artifacts encrypted at rest: readable through the one seam, and by nobody without the key."""

import hashlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.artifact_keys import IDENTITY, KeyMissing
from app.core.sealed_format import CHUNK
from app.core.settings import Settings
from app.core.storage import Damaged, NotStored, Storage, open_storage

PATH = "tenant/checkpoint/one"
CONTENT = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(3 * CHUNK // 32 + 5))


@pytest.fixture
def encrypting(tmp_path: Path, settings: Settings) -> Settings:
    (tmp_path / "master").write_text("ab" * 32 + "\n")
    keys = {"master_key_file": str(tmp_path / "master"), "key_store_url": f"file://{tmp_path}/keys"}
    return settings.model_copy(update={"storage_url": f"file://{tmp_path}/storage"} | keys)


@pytest.fixture
def settings() -> Settings:
    """Without a database: nothing here asks one."""
    return Settings(database_url="x", broker_url="x", storage_url="x", hash_key="0" * 64)


@pytest.fixture
def storage(encrypting: Settings) -> Storage:
    return open_storage(encrypting)


def test_digest_size_and_ranges_are_the_contents(storage: Storage, tmp_path: Path) -> None:
    written = storage.put(PATH, [CONTENT[:100], CONTENT[100:]])
    assert (written.sha256, written.size) == (hashlib.sha256(CONTENT).digest(), len(CONTENT))
    assert storage.size(PATH) == len(CONTENT)
    for start, end in ((0, None), (CHUNK - 1, CHUNK + 1), (5, 5), (len(CONTENT) - 1, None), (7, 3 * CHUNK)):
        assert b"".join(storage.read(PATH, start, end)) == CONTENT[start:end]
    stored = (tmp_path / "storage" / PATH).read_bytes()
    assert CONTENT[:32] not in stored
    assert CONTENT[-32:] not in stored


def test_what_was_stored_before_and_the_journal_stay_as_they_are(
    storage: Storage, encrypting: Settings, tmp_path: Path
) -> None:
    Storage(encrypting.storage_url).put(PATH, [b"before"])
    assert b"".join(storage.read(PATH)) == b"before"
    storage.put("journal/deletions/one", [b"entry"])
    assert (tmp_path / "storage/journal/deletions/one").read_bytes() == b"entry"


def test_without_its_key_it_is_gone_for_good_wherever_a_copy_lies(storage: Storage, tmp_path: Path) -> None:
    key_store = storage.put(PATH, [CONTENT]).key_store
    file = tmp_path / "storage" / PATH
    kept = file.read_bytes()
    assert not storage.is_erased(PATH, key_store)
    storage.delete(PATH)
    assert storage.is_erased(PATH, key_store)
    assert not storage.is_erased(PATH, "another key store")
    assert not storage.is_erased(PATH, None)
    with pytest.raises(NotStored):
        storage.size(PATH)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(kept)  # from a backup
    with pytest.raises(KeyMissing):
        list(storage.read(PATH))
    storage.put(PATH, [CONTENT])
    file.write_bytes(kept)
    with pytest.raises(Damaged):
        list(storage.read(PATH))


def test_bytes_in_the_place_of_encrypted_ones_are_not_served(storage: Storage, tmp_path: Path) -> None:
    storage.put(PATH, [CONTENT])
    storage.put("tenant/checkpoint/two", [CONTENT])
    file = tmp_path / "storage" / PATH
    file.write_bytes((tmp_path / "storage/tenant/checkpoint/two").read_bytes())
    with pytest.raises(Damaged):
        list(storage.read(PATH))
    file.write_bytes(b"in the clear")
    with pytest.raises(Damaged, match="not encrypted"):
        list(storage.read(PATH))


def test_switched_off_again_it_says_so_instead_of_serving_noise(
    storage: Storage, encrypting: Settings
) -> None:
    storage.put(PATH, [CONTENT])
    with pytest.raises(KeyMissing):
        list(Storage(encrypting.storage_url).read(PATH, 0, 10))


def test_master_keys_rotate(storage: Storage, encrypting: Settings, tmp_path: Path) -> None:
    storage.put(PATH, [CONTENT])
    master = tmp_path / "master"
    master.write_text("cd" * 32 + "\n" + "ab" * 32 + "\n")
    both = open_storage(encrypting)
    assert both.keys is not None
    assert both.keys.wrap_again(PATH)
    assert not both.keys.wrap_again(PATH)
    assert not both.keys.wrap_again("tenant/checkpoint/none")
    master.write_text("cd" * 32)
    assert b"".join(open_storage(encrypting).read(PATH)) == CONTENT
    master.write_text("ab" * 32)
    with pytest.raises(Damaged, match="not in the file"):
        list(open_storage(encrypting).read(PATH))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"key_store_url": None}, "needs both"),
        ({"key_store_url": "file:///data/storage/keys", "storage_url": "file:///data/storage"}, "outside"),
    ],
)
def test_half_a_configuration_is_refused(encrypting: Settings, changed: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        open_storage(encrypting.model_copy(update=changed))


@pytest.mark.parametrize("content", ["", "ab" * 31, "not hexadecimal at all"])
def test_a_key_file_that_is_none_is_refused(encrypting: Settings, tmp_path: Path, content: str) -> None:
    (tmp_path / "master").write_text(content)
    with pytest.raises(ValueError, match=r"master"):
        open_storage(encrypting)


def test_a_large_artifact_passes_in_constant_memory(storage: Storage) -> None:
    def blocks() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(1024 * 1024)

    tracemalloc.start()
    written = storage.put(PATH, blocks())
    read = sum(len(part) for part in storage.read(PATH))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read == written.size == 64 * 1024 * 1024
    assert peak < 24 * 1024 * 1024


def test_the_key_store_knows_itself_again(storage: Storage, encrypting: Settings, tmp_path: Path) -> None:
    first = storage.put(PATH, [b"x"]).key_store
    assert first == open_storage(encrypting).put("tenant/checkpoint/two", [b"x"]).key_store
    assert (tmp_path / "keys" / IDENTITY).read_text() == first
