"""Asking until something is settled: often at first, then less often."""

import time
from collections.abc import Callable
from typing import TypeVar

from lethe.errors import StillRunning
from lethe.plan import Exchange, Outgoing, Pause, Plan, ask, read

T = TypeVar("T")
FIRST, GROWTH, LONGEST = 0.2, 1.3, 5.0


def until(path: str, kind: type[T], is_settled: Callable[[T], bool], timeout: float | None) -> Plan[T]:
    """Asks with If-None-Match, so that nothing is sent twice. Raises `StillRunning`."""
    ends = None if timeout is None else time.monotonic() + timeout
    pause, etag = FIRST, ""
    while True:
        headers = {"If-None-Match": etag} if etag else {}
        answer = yield from ask(Exchange(Outgoing("GET", path, headers=headers)))
        if answer.status != 304:
            found = read(answer, kind)
            if is_settled(found):
                return found
            etag = answer.headers.get("etag", "")
        if ends is not None and time.monotonic() + pause > ends:
            raise StillRunning(f"Not settled after {timeout:g} seconds. It goes on; ask again later.")
        yield Pause(pause)
        pause = min(LONGEST, pause * GROWTH)
