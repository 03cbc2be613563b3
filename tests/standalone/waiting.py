"""Wait for something to become true, with a deadline."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], bool], *, seconds: float = 15.0) -> bool:
    """Whether `condition` holds before the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False
