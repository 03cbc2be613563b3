"""When a run hangs: it neither obeys an order nor comes back to ask for one.

A heartbeat that went on for a run that is stuck (a mount that does not answer, a kernel that does not return)
would hold the job and the device for ever. So the heartbeat's thread watches the run, and ends the process
when it has to: the lease then runs out, the relay puts the job back or cancels it, and the parent process
spawns another child.
"""

import os
import signal
import time
from collections.abc import Callable

from app.core.logging import get_logger

# How long a run may take from an order to its end. A cancelled job is settled within ten seconds.
PATIENCE = 5.0


class Watchdog:
    """`seen` whenever the run asks for orders; `look` from another thread, now and then."""

    def __init__(self, stall_seconds: float, abandon: Callable[[], None]) -> None:
        """`stall_seconds`: how long a run may be busy without asking. `abandon` ends the process."""
        self._stall_seconds = stall_seconds
        self._abandon = abandon
        self._seen = time.monotonic()
        self._ordered: float | None = None

    def seen(self) -> None:
        self._seen = time.monotonic()

    def look(self, must_end: bool) -> bool:
        """Whether the run was abandoned. `must_end`: it has been told to stop at once."""
        now = time.monotonic()
        if must_end and self._ordered is None:
            self._ordered = now
        reason = None
        if self._ordered is not None and now - self._ordered > PATIENCE:
            reason = "did_not_obey"
        elif now - self._seen > self._stall_seconds:
            reason = "stalled"
        if reason is None:
            return False
        get_logger(__name__).critical("run_abandoned", reason=reason)
        self._abandon()
        return True


def end_process() -> None:
    """At once: a thread cannot interrupt another one that hangs in a system call."""
    os.kill(os.getpid(), signal.SIGKILL)
