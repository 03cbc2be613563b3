"""Look at processes from outside."""

import os
import signal
from pathlib import Path

import psutil


def mentioning(text: str | Path) -> list[psutil.Process]:
    """The living processes, but for this one, that have `text` in their command line or as working folder."""
    found = []
    for process in psutil.process_iter():
        try:
            described = " ".join([*process.cmdline(), process.cwd()])
            alive = process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid()
            if alive and str(text) in described:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def lives(process: psutil.Process) -> bool:
    """False for one that has ended and that init has not collected yet, too."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def child_of(pid: int | None) -> int:
    """The one child of `pid`."""
    (child,) = psutil.Process(pid).children()
    return int(child.pid)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def descendants_of(pid: int) -> list[psutil.Process]:
    return list(psutil.Process(pid).children(recursive=True))
