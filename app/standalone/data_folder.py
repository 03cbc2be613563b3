"""The one folder that holds everything an embedded deployment keeps."""

import errno
import os
from pathlib import Path

from app.standalone.refusals import StandaloneError


class DataFolder:
    """Names the places in the folder; `make` creates what is missing and finds out whether it can be used."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.postgres = self.root / "postgres"
        self.redis = self.root / "redis"
        self.storage = self.root / "storage"
        """The artifacts."""
        self.data = self.root / "data"
        """What the first tenant may register by URL."""
        self.cache = self.root / "cache"
        self.logs = self.root / "logs"
        self.lock = self.root / "lock"
        self.keys = self.root / "keys.json"
        self.first_start = self.root / "first-start.json"
        """Written when the first API key has been handed out."""
        self.environment = self.root / "environment.sh"

    def make(self) -> None:
        """A new folder is closed to others; the mode of one that was there is its owner's business."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.storage, self.data, self.cache, self.logs):
                folder.mkdir(exist_ok=True)
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        except OSError as error:
            raise StandaloneError(
                f"The data folder {self.root} can't be written to ({error.strerror}): "
                "choose another one with --data-dir."
            ) from error


def write_privately(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only, and on the disk when this returns."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with open(
        os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
