"""A client's data and checkpoints, as local files: from a folder as they are, from object stores copied.

Copies are cached under a digest of what the store lists (names, sizes, entity tags): they are used again
while nothing has changed there, and removed as soon as something has, so that no deleted data stays.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import obstore

from app.core.errors import InvalidInput
from app.core.roots import allowed_url
from app.core.storage import open_object_store
from worker.engine.contract import Refused

OpenStore = Callable[[str], Any]
CHUNK = 4 * 1024 * 1024
PARTIAL = "partial-"
SECONDS_FOR_A_COPY = 24 * 3600.0


def fetch(
    url: str,
    roots: list[str],
    cache: Path,
    *,
    check: Callable[[], None],
    vanished: str = "data_vanished",
    open_store: OpenStore = open_object_store,
) -> Path:
    """The local file or folder with the bytes that lie at `url`.

    `check` is called now and then while they are copied, and may raise. Raises `Refused`: url_not_allowed,
    url_invalid, or `vanished`.
    """
    try:
        allowed = allowed_url(url, roots)
    except InvalidInput as error:
        raise Refused(error.code, error.detail) from error
    if allowed.startswith("file://"):
        path = Path(allowed.removeprefix("file://"))
        if not path.exists():
            raise _vanished(vanished)
        return path
    parts = urlsplit(allowed)
    bucket, key = f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")
    store = open_store(bucket)
    listed = sorted(_listed(store, key), key=lambda entry: str(entry["path"]))
    if not listed:
        raise _vanished(vanished)
    place = cache / "fetched" / hashlib.sha256(allowed.encode()).hexdigest()
    target = place / _digest(listed)
    if not target.exists():
        place.mkdir(parents=True, mode=0o700, exist_ok=True)
        _copy(store, key, listed, target, check)
        _remove_others(target)
    single = len(listed) == 1 and str(listed[0]["path"]) == key
    return target / PurePosixPath(key).name if single else target


def _listed(store: Any, key: str) -> Iterator[Any]:
    """The object itself, or everything in the folder of that name."""
    try:
        yield obstore.head(store, key)
        return
    except FileNotFoundError:
        pass
    for batch in obstore.list(store, prefix=key + "/"):
        yield from batch


def _digest(listed: list[Any]) -> str:
    described = [
        f"{entry['path']}\0{entry['size']}\0{entry['e_tag']}\0{entry['last_modified']}" for entry in listed
    ]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()


def _copy(store: Any, key: str, listed: list[Any], target: Path, check: Callable[[], None]) -> None:
    """Whole or not at all: into a folder beside, renamed at the end. Nested folders are not taken: data
    formats are flat."""
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=target.parent))
    for entry in listed:
        path = str(entry["path"])
        name = PurePosixPath(key).name if path == key else path.removeprefix(key + "/")
        if "/" in name:
            continue
        with (partial / name).open("wb") as file:
            for start in range(0, int(entry["size"]), CHUNK):
                check()
                length = min(CHUNK, int(entry["size"]) - start)
                file.write(bytes(obstore.get_range(store, path, start=start, length=length)))
    try:
        os.rename(partial, target)
    except OSError:  # another worker's copy of the same got there first
        shutil.rmtree(partial, ignore_errors=True)
        if not target.exists():
            raise


def _remove_others(target: Path) -> None:
    """Copies of what has changed since; and those that were never finished, once nobody can be at it."""
    for other in target.parent.iterdir():
        unfinished = other.name.startswith(PARTIAL)
        if other != target and not (unfinished and time.time() - other.stat().st_mtime < SECONDS_FOR_A_COPY):
            shutil.rmtree(other, ignore_errors=True)


def _vanished(code: str) -> Refused:
    what = "data" if code == "data_vanished" else "checkpoint"
    return Refused(code, f"There is nothing at the {what}'s URL any more. Put it back, or register it anew.")
