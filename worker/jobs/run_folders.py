"""A run's own folder. A process that is killed leaves its behind, with a client's model in it: the next
worker that starts on this cache removes what no living process holds."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "run-"
_HELD = "held"
_GATE = "run-folders.lock"


@contextmanager
def run_folder(cache: Path) -> Iterator[Path]:
    """A new folder, held by this process until the end, and then removed. Raises `OSError`."""
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _gate(cache):  # so that nobody finds it before it is held
        made = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=cache, ignore_cleanup_errors=True)
        folder = Path(made.name)
        held = (folder / _HELD).open("w")
        fcntl.flock(held, fcntl.LOCK_EX)
    with made, held:
        yield folder


def remove_left_over(cache: Path) -> int:
    """How many folders of dead processes were removed. Raises `OSError`."""
    if not cache.is_dir():
        return 0
    with _gate(cache):
        found = [folder for folder in cache.glob(f"{_PREFIX}*") if folder.is_dir() and not _is_held(folder)]
        for folder in found:
            shutil.rmtree(folder, ignore_errors=True)
    return len(found)


def _is_held(folder: Path) -> bool:
    try:
        with (folder / _HELD).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def _gate(cache: Path) -> Iterator[None]:
    with (cache / _GATE).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
