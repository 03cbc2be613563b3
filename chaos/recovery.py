"""How long the harm of a fault lasts: until all work goes on, and until everything accepted is settled."""

import contextlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import DBAPIError

from chaos.service import LEASE_SECONDS

Rows = Callable[..., list[Any]]

SECONDS_BETWEEN_LOOKS = 0.03

# A job that was claimed before has a fence, also when it waits for its next attempt.
_BEGUN = (
    "SELECT id, fence FROM jobs WHERE status IN ('running', 'cancelling') OR status = 'queued' AND fence > 0"
)
# Neither did its holder renew the lease, nor did anybody else claim it, nor did it end.
_INTERRUPTED = """
SELECT count(*) FROM jobs
JOIN unnest(CAST(:ids AS uuid[]), CAST(:fences AS integer[])) AS before(id, fence) USING (id, fence)
WHERE status = 'queued' OR status IN ('running', 'cancelling') AND lease_expires_at <= :renewed
"""
# Something could be done, and nobody does anything.
_IDLE = """
SELECT count(*) FROM jobs WHERE status = 'queued' AND not_before <= now()
  AND NOT EXISTS (SELECT FROM jobs WHERE status IN ('running', 'cancelling'))
"""
_UNSETTLED = """
SELECT count(*) FROM deletion_requests
WHERE id = ANY(:ids)
  AND status NOT IN ('succeeded', 'failed', 'cancelled', 'needs_review', 'awaiting_approval')
"""
_VALIDATING = "SELECT count(*) FROM jobs WHERE kind <> 'unlearn' AND status IN ('queued', 'running')"


@dataclass(frozen=True)
class Begun:
    """The jobs that were begun and not over at the moment `since`, with their fences then."""

    since: datetime
    jobs: Sequence[uuid.UUID]
    fences: Sequence[int]


def begun_by_now(rows: Rows) -> Begun:
    """Asked when the fault is over."""
    [(now,)] = rows("SELECT clock_timestamp()")
    begun = rows(_BEGUN)
    return Begun(now, [job for job, _ in begun], [fence for _, fence in begun])


def goes_on(rows: Rows, before: Begun) -> bool:
    """Each of those jobs is at work again, under its holder of then or another, or over; and somebody is at
    work if there is any."""
    held_up = rows(
        _INTERRUPTED,
        ids=list(before.jobs),
        fences=list(before.fences),
        renewed=before.since + timedelta(seconds=LEASE_SECONDS),
    )
    return not held_up[0][0] and not rows(_IDLE)[0][0]


def is_settled(rows: Rows, requests: Sequence[str]) -> bool:
    """All `requests`, and whatever was sent to be validated."""
    unsettled = rows(_UNSETTLED, ids=[uuid.UUID(request) for request in requests])
    return not unsettled[0][0] and not rows(_VALIDATING)[0][0]


def seconds_until(condition: Callable[[], bool], begin: float, seconds: float) -> float | None:
    """From `begin` on the monotonic clock until `condition` holds; None when it does not within `seconds`."""
    while time.monotonic() - begin < seconds:
        with contextlib.suppress(DBAPIError):  # the fault may have cut this connection as well
            if condition():
                return round(time.monotonic() - begin, 3)
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return None
