"""What was asked to be forgotten enters the journal in the storage, soon after it was accepted."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import transaction
from app.core.journal import Entry, write_entry
from app.core.storage import Storage
from models.deletion_request import UNJOURNALED

BATCH = 50

_UNJOURNALED = text(f"""
SELECT id, tenant_id, registered_model_id, dataset_id, tasks, scope, method, hash_key_id, reference,
  regulation, metadata, to_json(created_at) #>> '{{}}' AS created_at, to_json(due_at) #>> '{{}}' AS due_at,
  status = 'cancelled' AS cancelled,
  ARRAY(SELECT encode(item.instance_hash, 'hex') FROM deletion_request_items AS item
        WHERE item.deletion_request_id = request.id) AS instances
FROM deletion_requests AS request WHERE {UNJOURNALED} ORDER BY id LIMIT :batch
""")  # noqa: S608 (a constant of ours)
# Not the row that was read: it may have been taken back since, and is then written once more.
_MARK = text("""
UPDATE deletion_requests SET journaled_at = now() WHERE id = :id AND (status = 'cancelled') = :cancelled
""")


def write_journal(sessions: sessionmaker[Session], storage: Storage) -> int:
    """How many entries were written. Bytes first, mark after: a crash in between writes them once more."""
    with transaction(sessions) as session:
        found = [dict(row) for row in session.execute(_UNJOURNALED, {"batch": BATCH}).mappings()]
    for row in found:
        _write(sessions, storage, row)
    return len(found)


def _write(sessions: sessionmaker[Session], storage: Storage, row: dict[str, Any]) -> None:
    write_entry(storage, Entry(**row))
    with transaction(sessions) as session:
        session.execute(_MARK, {"id": row["id"], "cancelled": row["cancelled"]})
