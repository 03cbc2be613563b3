"""A part of a request on a data set is under way again: what was stated of its parts no longer holds."""

import uuid
from collections.abc import Sequence

from sqlalchemy import Executable, text

_REOPENED = text("""
UPDATE deletion_requests SET bundled_at = NULL WHERE bundled_at IS NOT NULL AND id IN (
  SELECT parent_id FROM deletion_requests WHERE id = ANY(CAST(:ids AS uuid[])) AND parent_id IS NOT NULL
)
""")


def reopened(requests: Sequence[uuid.UUID]) -> Executable:
    """To be executed in the transaction that queues the requests (again), after that."""
    return _REOPENED.bindparams(ids=list(requests))
