"""The folder of one look: networks that are trained, and how far the one is that is being trained.

It is named by all that the networks depend on, so that the same command goes on where it was killed, and any
other begins anew. No network in it has seen what was forgotten; it is removed once the report is stored.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from worker.engine.checkpoint import new_layout, read_checkpoint, write_checkpoint
from worker.engine.contract import Refused
from worker.jobs.snapshot_format import read_snapshot, write_snapshot

SECONDS_TO_GO_ON = 7 * 24 * 3600.0
_LOCK = "lock"


class WorkFolder:
    """Raises nothing on damaged files of its own: what cannot be read is made anew."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def network(self, name: str, empty: nn.Module) -> nn.Module | None:
        """The network of that name, read into `empty`; None if it was not finished."""
        file = self.path / f"{name}.safetensors"
        if not file.exists():
            return None
        try:
            read_checkpoint(file, empty)
        except Refused:
            return None
        return empty

    def keep(self, name: str, network: nn.Module) -> None:
        write_checkpoint(self.path / f"{name}.safetensors", network, new_layout(network))
        self._snapshot(name).unlink(missing_ok=True)

    def monitor(self, name: str, tell: Callable[[int, int, str], None]) -> "NetworkMonitor":
        return NetworkMonitor(self._snapshot(name), tell)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def _snapshot(self, name: str) -> Path:
        return self.path / f"{name}.snapshot"


class NetworkMonitor:
    """The engine's `Monitor` while one network is trained: snapshots go to a file."""

    def __init__(self, file: Path, tell: Callable[[int, int, str], None]) -> None:
        self._file = file
        self.progress = tell

    def save(self, snapshot: Mapping[str, Any]) -> None:
        partial = self._file.with_suffix(".partial")
        write_snapshot(snapshot, partial)
        partial.replace(self._file)

    def resume(self) -> Mapping[str, Any] | None:
        try:
            return read_snapshot(self._file)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            return None


@contextmanager
def work_folder(cache: Path, *depends_on: object) -> Iterator[WorkFolder]:
    """Held by this process until the end. Raises `Refused("audit_running")` while another one holds it.
    What other looks have left, and nobody has gone on with for `SECONDS_TO_GO_ON`, is removed."""
    _remove_abandoned(cache / "audits")
    name = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:32]
    path = cache / "audits" / name
    path.mkdir(parents=True, mode=0o700, exist_ok=True)
    with (path / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                "audit_running", "The same look at this version is being taken by another process."
            ) from None
        if not os.path.samestat(os.fstat(lock.fileno()), (path / _LOCK).stat()):  # removed as it ended
            raise Refused("audit_running", "The same look has just ended; its report is stored.")
        yield WorkFolder(path)


def _remove_abandoned(audits: Path) -> None:
    for folder in audits.glob("*"):
        newest = max((file.stat().st_mtime for file in folder.glob("*")), default=folder.stat().st_mtime)
        if time.time() - newest > SECONDS_TO_GO_ON and not _is_held(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    """A network may take longer to train than that."""
    try:
        with (folder / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
