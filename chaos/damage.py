"""What is done to the files of a storage, and undone again."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


class NotStruck(Exception):
    """There was nothing to do it to: the fault does not count."""


@contextlib.contextmanager
def read_only(folders: list[Path]) -> Iterator[None]:
    """By permissions; root, whom they do not stop, by the file system's immutable flag."""
    if os.geteuid() == 0:
        on, off = ["chattr", "+i"], ["chattr", "-i"]
    else:
        on, off = ["chmod", "a-w"], ["chmod", "u+w"]
    names = [str(folder) for folder in folders]
    done = subprocess.run([*on, *names], check=False, capture_output=True)
    try:
        if done.returncode != 0:
            raise NotStruck("this file system has no immutable flag")
        yield
    finally:
        subprocess.run([*off, *names], check=False, capture_output=True)


@contextlib.contextmanager
def flipped(file: Path, offset: int) -> Iterator[None]:
    """The lowest bit of one byte."""

    def flip() -> None:
        with file.open("r+b") as content:
            content.seek(offset)
            byte = content.read(1)[0]
            content.seek(offset)
            content.write(bytes([byte ^ 1]))

    flip()
    try:
        yield
    finally:
        flip()
