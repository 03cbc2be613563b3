"""Objects as they lie in a folder or a bucket. What reads artifacts asks `app.core.storage`, which decrypts.

obstore's synchronous calls only (its asynchronous ones may abort the interpreter at exit); the API
calls them in threads.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, from_url

from app.core import failpoints

CHUNK = 4 * 1024 * 1024
# Of an upload in several parts. S3 takes none below 5 MiB but the last, and 10,000 of them.
PART = 8 * 1024 * 1024
# obstore takes small pieces several times faster than ones near its own chunk size.
PIECE = 256 * 1024

# Every call to an object store ends: per request, and over all its repetitions (which back off with jitter).
CLIENT_OPTIONS: Any = {"connect_timeout": "5s", "timeout": "30s"}
RETRIES: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=45)}


class NotStored(LookupError):
    """There are no bytes at that path."""


@dataclass(frozen=True)
class Written:
    """Digest and size of what was written. `key_store`: id of the store that keeps its key, if it was
    encrypted on the way."""

    sha256: bytes
    size: int
    key_store: str | None = None


class ObjectStore:
    """Objects below one URL: file:///folder, s3://bucket/prefix, gs://… or az://…"""

    def __init__(self, url: str) -> None:
        self._local: Path | None = None
        if url.startswith("file://"):
            self._local = Path(url.removeprefix("file://"))
            self._local.mkdir(parents=True, exist_ok=True)
            self._store: Any = LocalStore(self._local, automatic_cleanup=True, mkdir=True)
        else:
            self._store = open_object_store(url)

    def put(self, path: str, chunks: Iterable[bytes]) -> Written:
        """Stream `chunks` in. The object appears whole or not at all, and is on disk when this returns.

        Whatever `chunks` raises ends the upload, leaves nothing behind, and is raised again.
        """
        digest = hashlib.sha256()
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        _may_fail(path, "before-put")
        obstore.put(self._store, path, counted(), chunk_size=PART, max_concurrency=2)
        if self._local is not None:
            _sync_to_disk(self._local, path)
        _may_fail(path, "after-put")
        return Written(digest.digest(), size)

    def create(self, path: str, content: bytes) -> bool:
        """A small object, on disk when this returns; False when there is one at that path already."""
        try:
            obstore.put(self._store, path, content, mode="create")
        except AlreadyExistsError:
            return False
        if self._local is not None:
            _sync_to_disk(self._local, path)
        return True

    def replace(self, path: str, content: bytes) -> None:
        """A small object in place of the one that is there."""
        obstore.put(self._store, path, content)
        if self._local is not None:
            _sync_to_disk(self._local, path)

    def put_file(self, path: str, source: Path, check: Callable[[], None] | None = None) -> Written:
        """Stream a local file in. `check` is called between two pieces, and may raise to end it."""
        with source.open("rb") as file:
            return self.put(path, _checked(iter(lambda: file.read(PIECE), b""), check))

    def read(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to and without `end`, in chunks. Raises `NotStored`."""
        stop = self.size(path) if end is None else end
        while start < stop:
            length = min(CHUNK, stop - start)
            yield self.part(path, start, length)
            start += length

    def part(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes, all of which are there. Raises `NotStored`."""
        try:
            return bytes(obstore.get_range(self._store, path, start=start, length=length))
        except FileNotFoundError as missing:
            raise NotStored(path) from missing

    @property
    def is_local(self) -> bool:
        """A folder of this machine."""
        return self._local is not None

    def size(self, path: str) -> int:
        """Bytes. Raises `NotStored`."""
        try:
            return int(obstore.head(self._store, path)["size"])
        except FileNotFoundError as missing:
            raise NotStored(path) from missing

    def list(self, prefix: str) -> Iterator[str]:
        """The paths below `prefix`, a folder's name."""
        for batch in obstore.list(self._store, prefix=prefix):
            yield from (str(entry["path"]) for entry in batch)

    def delete(self, path: str) -> None:
        """Remove the object; it is no error if it is gone already. In a folder, what a writer that was
        killed half way has left beside it goes too."""
        _may_fail(path, "before-delete")
        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, path)
        if self._local is not None:
            for staged in (self._local / path).parent.glob(f"{PurePosixPath(path).name}#*"):
                staged.unlink(missing_ok=True)
        _may_fail(path, "after-delete")

    def copy_to(self, path: str, target: Path, check: Callable[[], None] | None = None) -> Written:
        """Write the object to the local file `target` and say what was written. `check` is called between
        two chunks, and may raise to end it. Raises `NotStored`."""
        digest = hashlib.sha256()
        size = 0
        with target.open("wb") as file:
            for chunk in _checked(self.read(path), check):
                digest.update(chunk)
                size += file.write(chunk)
        return Written(digest.digest(), size)

    def measure(self, path: str, check: Callable[[], None] | None = None) -> Written:
        """Digest and size of what lies there now; `check` as in `copy_to`. Raises `NotStored`."""
        digest = hashlib.sha256()
        size = 0
        for chunk in _checked(self.read(path), check):
            digest.update(chunk)
            size += len(chunk)
        return Written(digest.digest(), size)

    def presigned_url(self, path: str, expires: timedelta) -> str | None:
        """A URL that serves the object without a key, where the store has such; None on folders."""
        if self._local is not None:
            return None
        return str(obstore.sign(self._store, "GET", path, expires))


def open_object_store(url: str) -> Any:
    """The bucket at `url`, every call to it bounded in time. Options given here take the place of what the
    environment says of the client, so the one that a store within one's own network needs is read here."""
    insecure = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
    options = CLIENT_OPTIONS | ({"allow_http": True} if insecure else {})
    return from_url(url, client_options=options, retry_config=RETRIES)


def _checked(chunks: Iterator[bytes], check: Callable[[], None] | None) -> Iterator[bytes]:
    for chunk in chunks:
        if check is not None:
            check()
        yield chunk


def _may_fail(path: str, place: str) -> None:
    """`path` is tenant/kind/id."""
    if failpoints.ARMED and path.count("/") == 2:
        failpoints.reach(f"{path.split('/')[1]}.{place}")


def _sync_to_disk(root: Path, path: str) -> None:
    """obstore renames a finished file into place but does not force it to disk; nor the folders around it,
    which it makes for the first file of a tenant."""
    file = root / path
    folders = [folder for folder in file.parents if folder.is_relative_to(root)]
    for target in (file, *folders):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
