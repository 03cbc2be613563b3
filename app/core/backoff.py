"""Whether and when a job whose attempt broke or was lost is tried again: a value, apart from doing it."""

import random
from datetime import timedelta

FIRST = 2.0
LONGEST = 300.0


def delay_after(attempt: int) -> timedelta:
    """Seconds to wait after the n-th attempt (from 1): 2, 4, 8, … up to 300, a quarter more or less, so
    that jobs that broke together do not come back together."""
    seconds = min(LONGEST, FIRST * 2.0 ** (attempt - 1))
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311 (no secret)
