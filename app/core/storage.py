"""Stored artifacts: the one seam that knows about folders, buckets, ranges, URLs and encryption.

With keys, artifacts are encrypted on their way in. What was stored without stays readable, and what is
encrypted is told by its first bytes; sizes, ranges and digests are always those of the content.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from app.core.artifact_keys import ArtifactKeys, KeyMissing, MasterKeys
from app.core.object_store import CHUNK, PIECE, NotStored, ObjectStore, Written, open_object_store
from app.core.sealed_format import HEADER, SALT, Damaged, Layout, is_sealed, read_layout, seal, unseal
from app.core.settings import Settings

__all__ = [
    "CHUNK",
    "PIECE",
    "Damaged",
    "KeyMissing",
    "NotStored",
    "Storage",
    "Written",
    "open_object_store",
    "open_storage",
]

ENCRYPTED = ("checkpoint", "snapshot")
"""Kinds of artifacts, the second part of their path. The journal has nothing but keyed hashes."""


class Storage(ObjectStore):
    """`keys`: those of artifacts, when they are encrypted at rest."""

    def __init__(self, url: str, keys: ArtifactKeys | None = None) -> None:
        super().__init__(url)
        self.keys = keys

    def put(self, path: str, chunks: Iterable[bytes]) -> Written:
        if self.keys is None or not _is_artifact(path):
            return super().put(path, chunks)
        content = _Measured(chunks)
        super().put(path, seal(content, self.keys.for_writing(path), os.urandom(SALT)))
        return Written(content.digest.digest(), content.size, self.keys.id)

    def read(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """As of any object. Raises `NotStored`, `KeyMissing` (which is one) and `Damaged`."""
        layout = self._layout(path)
        if layout is None:
            yield from super().read(path, start, end)
            return
        if self.keys is None:
            raise KeyMissing(path)
        key = self.keys.for_reading(path)
        stop = layout.size if end is None else end
        yield from unseal(layout, key, lambda place, length: self.part(path, place, length), start, stop)

    def size(self, path: str) -> int:
        layout = self._layout(path)
        return super().size(path) if layout is None else layout.size

    def delete(self, path: str) -> None:
        """The key first: from then on the bytes are nobody's, wherever a copy of them is kept."""
        if self.keys is not None and _is_artifact(path):
            self.keys.destroy(path)
        super().delete(path)

    def is_erased(self, path: str, key_store: str | None) -> bool:
        """Whether the artifact was encrypted with a key of this very key store that is no longer there."""
        if self.keys is None or key_store is None or self.keys.id != key_store:
            return False
        return not self.keys.has(path)

    def _layout(self, path: str) -> Layout | None:
        """None of what is stored as it is. Raises `NotStored`; and `Damaged` for what is not encrypted and
        should be: somebody put it there."""
        if not _is_artifact(path):
            return None
        start = self._start(path)
        if is_sealed(start):
            return read_layout(start, super().size(path))
        if self.keys is not None and self.keys.has(path):
            raise Damaged("the object is not encrypted, though it has a key")
        return None

    def _start(self, path: str) -> bytes:
        total = super().size(path)
        return self.part(path, 0, min(HEADER, total)) if total else b""


def open_storage(settings: Settings) -> Storage:
    """As configured. Raises `ValueError` when encryption is configured by halves, or the key file is none."""
    file, url = settings.master_key_file or None, settings.key_store_url or None  # a container may say ""
    if (file is None) != (url is None):
        raise ValueError("Encryption needs both LETHE_MASTER_KEY_FILE and LETHE_KEY_STORE_URL.")
    if file is None or url is None:
        return Storage(settings.storage_url)
    _refuse_nested(settings.storage_url, url)
    return Storage(settings.storage_url, ArtifactKeys(ObjectStore(url), MasterKeys(Path(file))))


def _refuse_nested(storage: str, keys: str) -> None:
    """A backup of the one must not take the other along."""
    places = [f"{url.rstrip('/')}/" for url in (storage, keys)]
    if places[0].startswith(places[1]) or places[1].startswith(places[0]):
        raise ValueError(
            "LETHE_KEY_STORE_URL must lie outside of LETHE_STORAGE_URL, and the other way round."
        )


def _is_artifact(path: str) -> bool:
    """`path` is tenant/kind/id."""
    parts = path.split("/")
    return len(parts) == 3 and parts[1] in ENCRYPTED


class _Measured:
    """Passes blocks on, and knows their digest and size at the end."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = blocks
        self.digest = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.digest.update(block)
            self.size += len(block)
            yield block
