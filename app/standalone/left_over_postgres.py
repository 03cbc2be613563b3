"""Deal with a server that an earlier, killed process left running or left traces of."""

import contextlib
import os
import signal
import time
from pathlib import Path

from app.standalone.refusals import StandaloneError

SECONDS_FOR_FAST_SHUTDOWN = 20.0
SECONDS_FOR_IMMEDIATE_SHUTDOWN = 10.0


def clear_left_over_server(cluster: Path) -> None:
    """Stop a server that still runs on `cluster`, and remove a pid file that names somebody else by now.

    PostgreSQL recognises most stale pid files by itself, but refuses to start when the number has gone to
    another process of the same user, as it soon does in a container. A pid file whose process is dead is
    left for it: it holds the key of the shared memory which it checks for surviving backends.
    """
    pid_file = cluster / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if _runs_on(cluster, pid):
        _shut_down(cluster, pid)
    elif Path(f"/proc/{pid}").exists():
        pid_file.unlink()


def _shut_down(cluster: Path, pid: int) -> None:
    for order, patience in (
        (signal.SIGINT, SECONDS_FOR_FAST_SHUTDOWN),
        (signal.SIGQUIT, SECONDS_FOR_IMMEDIATE_SHUTDOWN),
    ):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, order)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not _runs_on(cluster, pid):
                return
            time.sleep(0.05)
    raise StandaloneError(
        f"An earlier PostgreSQL (pid {pid}) still runs on {cluster} and does not stop: end it first."
    )


def _runs_on(cluster: Path, pid: int) -> bool:
    """Whether `pid` is a PostgreSQL whose working folder is `cluster`. A process that we can't see is not
    ours."""
    try:
        return (
            Path(f"/proc/{pid}/cwd").samefile(cluster)
            and Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
        )
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return False
