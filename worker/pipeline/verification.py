"""Is the data still what was registered? Read whole once per worker, then recognised by its files' stamps.

A job on a hundred of a million instances must not read the million. A worker that has read a data set and
found its fingerprint remembers it, in its cache folder, beside a digest over every file's name, size, inode
and times of modification and of change, in nanoseconds. While these are the same, so are the contents: the
system sets the time of change at every write, truncation and replacement, and lets no program set it (a time
of modification that was put back does not hide anything). What this cannot see, such as bits that rot below
the file system, is seen when the data is read whole again, at the latest after `TRUSTED_SECONDS`.

A stamp costs one look at each file's entry. It is not trusted where a file changed so shortly before it was
read that a later change might bear the same time.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.engine.data import Description, alive, describe

TRUSTED_SECONDS = 7 * 24 * 3600.0
_SETTLED_SECONDS = 2.0
_FOLDER = "verified"


@dataclass(frozen=True)
class Stamp:
    """digest over the entries of all files; newest: the latest time of change among them, in seconds."""

    digest: str
    newest: float


def describe_and_remember(format: str, path: Path, cache: Path) -> Description:
    """Read the data whole, and remember its fingerprint for as long as its files stay as they are.

    Raises `Refused("data_…")`.
    """
    before = stamp_of(path)
    found = describe(format, path)
    settled = time.time() - before.newest > _SETTLED_SECONDS
    if settled and stamp_of(path) == before:
        _remember(_note(format, path, cache), before, found.fingerprint)
    return found


def has_fingerprint(format: str, path: Path, fingerprint: str | None, cache: Path) -> bool:
    """Whether the data at `path` has this fingerprint; reads it whole only where a stamp does not tell.

    Raises `Refused("data_…")`.
    """
    if fingerprint is not None and _remembered(_note(format, path, cache), stamp_of(path)) == fingerprint:
        return True
    return describe_and_remember(format, path, cache).fingerprint == fingerprint


def stamp_of(path: Path) -> Stamp:
    """Of a file, or of all files below a folder."""
    digest, newest = hashlib.sha256(), 0.0
    for name, entry in _entries(path):
        alive()
        facts = (name, entry.st_size, entry.st_ino, entry.st_dev, entry.st_mtime_ns, entry.st_ctime_ns)
        digest.update(repr(facts).encode())
        newest = max(newest, entry.st_mtime, entry.st_ctime)
    return Stamp(digest.hexdigest(), newest)


def _entries(path: Path, below: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Files by name, in the order of their names; links are followed, as readers follow them."""
    if not path.is_dir():
        yield below, path.stat()
        return
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{below}/{entry.name}"
        if entry.is_dir():
            yield from _entries(Path(entry.path), name)
        else:
            yield name, entry.stat()


def _note(format: str, path: Path, cache: Path) -> Path:
    name = hashlib.sha256(f"{format}\0{path.resolve()}".encode()).hexdigest()
    return cache / _FOLDER / f"{name}.json"


def _remember(note: Path, stamp: Stamp, fingerprint: str) -> None:
    note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = note.with_name(f"{note.name}.{os.getpid()}")
    partial.write_text(json.dumps({"stamp": stamp.digest, "fingerprint": fingerprint, "at": time.time()}))
    partial.replace(note)


def _remembered(note: Path, stamp: Stamp) -> str | None:
    """The fingerprint that was found under this very stamp, unless that was too long ago."""
    try:
        known = json.loads(note.read_text())
        fresh = 0 <= time.time() - float(known["at"]) < TRUSTED_SECONDS
        return str(known["fingerprint"]) if fresh and known["stamp"] == stamp.digest else None
    except (OSError, ValueError, KeyError, TypeError):  # none, or one that was cut short: read the data again
        return None
