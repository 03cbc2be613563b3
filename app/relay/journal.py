"""What was asked to be forgotten enters the journal in the storage, soon after it was accepted; and again
when it is taken back, or notice of it was given."""

import json
import uuid
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import transaction
from app.core.journal import Entry, write_entry
from app.core.logging import get_logger
from app.core.storage import Storage
from models.deletion_request import UNJOURNALED

BATCH = 50
BATCHES = 20
FAILURES_IN_SUCCESSION = 3
"""So many, and it is the storage rather than a request that something is wrong with."""

_UNJOURNALED = text(f"""
SELECT id FROM deletion_requests WHERE id > :after AND {UNJOURNALED} ORDER BY id LIMIT :batch
""")  # noqa: S608 (a constant of ours)
_READ = text(f"""
SELECT id, tenant_id, registered_model_id, dataset_id, tasks, scope, method, guarantee, hash_key_id,
  reference, regulation, metadata,
  to_json(created_at) #>> '{{}}' AS created_at, to_json(due_at) #>> '{{}}' AS due_at,
  to_json(acknowledge_by) #>> '{{}}' AS acknowledge_by, status = 'cancelled' AS cancelled,
  CASE WHEN status = 'awaiting_approval' OR error_code IN ('request_rejected', 'approval_expired')
    THEN approval -> 'reasons' END AS waits_because,
  to_json(approved_at) #>> '{{}}' AS approved_at,
  to_json(acknowledged_at) #>> '{{}}' AS acknowledged_at, extension,
  ARRAY(SELECT encode(item.instance_hash, 'hex') FROM deletion_request_items AS item
        WHERE item.deletion_request_id = request.id) AS instances,
  (SELECT jsonb_build_object('id', parent.id, 'tasks', parent.tasks, 'scope', parent.scope,
     'method', parent.method, 'guarantee', parent.guarantee, 'instance_count', parent.instance_count,
     'reference', parent.reference, 'regulation', parent.regulation, 'metadata', parent.metadata,
     'created_at', parent.created_at, 'due_at', parent.due_at, 'acknowledge_by', parent.acknowledge_by,
     'dataset_id', parent.dataset_id, 'acknowledged_at', parent.acknowledged_at,
     'extension', parent.extension)
   FROM deletion_requests AS parent WHERE parent.id = request.parent_id) AS parent,
  ARRAY(SELECT encode(item.instance_hash, 'hex') FROM deletion_request_items AS item
        WHERE item.deletion_request_id = request.parent_id AND NOT EXISTS (
          SELECT FROM deletion_request_items AS own
          WHERE own.deletion_request_id = request.id AND own.instance_hash = item.instance_hash
        )) AS others
FROM deletion_requests AS request WHERE id = :id AND {UNJOURNALED}
""")  # noqa: S608 (a constant of ours)
# Not another than the row that was read: it may have been taken back or approved since, or notice given, and
# is then written once more.
_MARK = text("""
UPDATE deletion_requests AS request SET journaled_at = now()
WHERE id = :id AND (status = 'cancelled') = :cancelled
  AND (approved_at IS NOT NULL) = :approved
  AND to_json(acknowledged_at) #>> '{}' IS NOT DISTINCT FROM :acknowledged_at
  AND (extension IS NOT NULL) = :extended
  AND (SELECT jsonb_build_array(parent.acknowledged_at, parent.extension)
       FROM deletion_requests AS parent WHERE parent.id = request.parent_id)
    IS NOT DISTINCT FROM CAST(:of_parent AS jsonb)
""")
_START = uuid.UUID(int=0)


class Journal:
    """Writes what is not in the journal yet, some of it at each call: its caller has other things to do."""

    def __init__(self, sessions: sessionmaker[Session], storage: Storage) -> None:
        self._sessions = sessions
        self._storage = storage
        # Where the next call goes on, so that what cannot be written does not stand before all others.
        self._after = _START
        self._failures = 0

    def write(self) -> int:
        """How many entries were written. What could not be is tried again, after all others. Raises the
        last error when everything fails."""
        self._failures = 0
        written = 0
        for _ in range(BATCHES):
            found = self._find()
            for request_id in found:
                self._after = request_id
                written += self._try(request_id)
            if len(found) < BATCH:
                self._after = _START
                break
        return written

    def _find(self) -> list[uuid.UUID]:
        with transaction(self._sessions) as session:
            return list(session.scalars(_UNJOURNALED, {"after": self._after, "batch": BATCH}))

    def _try(self, request_id: uuid.UUID) -> bool:
        try:
            self._write(request_id)
        except Exception as error:
            get_logger(__name__).warning(
                "not_journaled", deletion_request_id=str(request_id), error=type(error).__name__
            )
            self._failures += 1
            if self._failures == FAILURES_IN_SUCCESSION:
                raise
            return False
        self._failures = 0
        return True

    def _write(self, request_id: uuid.UUID) -> None:
        """Bytes first, mark after: a crash in between writes them once more. One request at a time: it may
        name a hundred thousand instances."""
        with transaction(self._sessions) as session:
            row = session.execute(_READ, {"id": request_id}).mappings().one_or_none()
        if row is None:  # another relay has written it
            return
        write_entry(self._storage, Entry(**row))
        with transaction(self._sessions) as session:
            session.execute(_MARK, _seen(row))


def _seen(row: RowMapping) -> dict[str, Any]:
    """What of the row may have changed since it was read."""
    parent = row["parent"] and [row["parent"][name] for name in ("acknowledged_at", "extension")]
    seen = {name: row[name] for name in ("id", "cancelled", "acknowledged_at")}
    return seen | {
        "approved": bool(row["approved_at"]),
        "extended": row["extension"] is not None,
        "of_parent": json.dumps(parent) if parent else None,
    }
