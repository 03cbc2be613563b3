"""When a delivery that failed is tried again: ten attempts over about three days, each pause a fifth more or
less, so that receivers which come back are not met by all at once."""

import random
from datetime import timedelta

_MINUTE, _HOUR = 60.0, 3600.0
PAUSES = (5.0, _MINUTE, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 20 * _HOUR, 34 * _HOUR)
MOST_ATTEMPTS = len(PAUSES) + 1
_JITTER = 0.2


def pause_after(attempts: int) -> timedelta | None:
    """The pause after so many failed attempts (from 1); None when there were enough."""
    if attempts >= MOST_ATTEMPTS:
        return None
    factor = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 (no secret)
    return timedelta(seconds=PAUSES[attempts - 1] * factor)
