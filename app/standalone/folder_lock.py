"""One embedded deployment per folder."""

import fcntl
import os
import time
from pathlib import Path

from app.standalone.refusals import StandaloneError

SECONDS_FOR_THE_LAST_ONE_TO_CLEAR_UP = 60.0


class FolderLock:
    """A file lock with the owner's process id in it.

    The guards of the deployment's processes hold the same lock open. So after the owner was killed the folder
    stays locked until the last of its processes has ended, and a new start waits for that.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = -1

    def acquire(self) -> None:
        try:
            self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StandaloneError(
                f"The data folder {self._path.parent} can't be written to ({error.strerror}): "
                "choose another one with --data-dir."
            ) from error
        deadline = time.monotonic() + SECONDS_FOR_THE_LAST_ONE_TO_CLEAR_UP
        while not self._taken():
            owner = os.pread(self.descriptor, 20, 0).decode().strip()
            if not owner or Path(f"/proc/{owner}").exists() or time.monotonic() > deadline:
                self.release()
                raise StandaloneError(
                    f"Another Lethe (process {owner or 'unknown'}) already uses {self._path.parent}: "
                    "stop it, or choose another folder with --data-dir."
                )
            time.sleep(0.1)
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _taken(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
