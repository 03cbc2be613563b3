"""How long until everything that was accepted is settled."""

import contextlib
import time
import uuid
from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError

from chaos.service import Service

UNSETTLED = """
SELECT count(*) FROM deletion_requests
WHERE id = ANY(:ids)
  AND status NOT IN ('succeeded', 'failed', 'cancelled', 'needs_review', 'awaiting_approval')
"""
VALIDATING = "SELECT count(*) FROM jobs WHERE kind <> 'unlearn' AND status IN ('queued', 'running')"


def seconds_until_settled(service: Service, requests: Sequence[str], seconds: float) -> float | None:
    """From now until all `requests`, and whatever was sent to be validated, are settled; None when they are
    not within `seconds`."""
    begin = time.monotonic()
    ids = [uuid.UUID(request) for request in requests]
    while (waited := time.monotonic() - begin) < seconds:
        with contextlib.suppress(DBAPIError):  # the fault may have cut this connection as well
            if not service.value(UNSETTLED, ids=ids) and not service.value(VALIDATING):
                return waited
        time.sleep(0.03)
    return None
