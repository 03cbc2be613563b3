"""Asking again for what a restored database does not know: the journal in the storage does."""

import json
import uuid
from dataclasses import asdict, dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.audit import audit_entry, event
from app.core.database import transaction
from app.core.journal import Entry, read_entries
from app.core.storage import Storage

ACTOR = "operator"

_KNOWN = text("SELECT status FROM deletion_requests WHERE id = :id FOR UPDATE")
_MODEL = text("SELECT id FROM registered_models WHERE id = :id AND tenant_id = :tenant AND status = 'ready'")
# Without a job: the relay gives it a place in its model's open one. Without its parent, which may be unknown.
_QUEUE = text("""
INSERT INTO deletion_requests (id, tenant_id, dataset_id, registered_model_id, tasks, scope, method,
  instance_count, hash_key_id, reference, regulation, metadata, created_at, due_at, status, journaled_at,
  guarantee)
VALUES (:id, :tenant_id, :dataset_id, :registered_model_id, :tasks, :scope, :method, :count, :hash_key_id,
  :reference, :regulation, CAST(:metadata AS jsonb), CAST(:created_at AS timestamptz),
  CAST(:due_at AS timestamptz), 'queued', now(), :guarantee)
""")
_ITEMS = text("""
INSERT INTO deletion_request_items (deletion_request_id, instance_hash, tenant_id)
SELECT :id, decode(named, 'hex'), :tenant_id FROM unnest(CAST(:instances AS text[])) AS named
""")
_CANCEL = text("""
UPDATE deletion_requests SET status = 'cancelled', finished_at = now(), cancel_requested_at = now(),
  journaled_at = now(), revision = revision + 1
WHERE id = :id AND status = 'queued' RETURNING id
""")


@dataclass
class Reapplied:
    """`impossible`: requests on models that the database does not have."""

    queued: int = 0
    cancelled: int = 0
    impossible: list[uuid.UUID] = field(default_factory=list)


def reapply_journal(sessions: sessionmaker[Session], storage: Storage) -> Reapplied:
    """May be run twice. One transaction per entry."""
    done = Reapplied()
    for entry in read_entries(storage):
        with transaction(sessions) as session:
            _reapply(session, entry, done)
    return done


def _reapply(session: Session, entry: Entry, done: Reapplied) -> None:
    known = session.execute(_KNOWN, {"id": entry.id}).one_or_none()
    if entry.cancelled:
        if known is not None and session.execute(_CANCEL, {"id": entry.id}).one_or_none() is not None:
            _tell(session, entry, "cancelled")
            done.cancelled += 1
        return
    if known is not None:
        return
    model = {"id": entry.registered_model_id, "tenant": entry.tenant_id}
    if session.execute(_MODEL, model).one_or_none() is None:
        done.impossible.append(entry.id)
        return
    values = asdict(entry) | {"count": len(entry.instances), "metadata": json.dumps(entry.metadata)}
    session.execute(_QUEUE, {name: values[name] for name in values if name not in ("instances", "cancelled")})
    session.execute(_ITEMS, {name: values[name] for name in ("id", "tenant_id", "instances")})
    _tell(session, entry, "queued")
    done.queued += 1


def _tell(session: Session, entry: Entry, status: str) -> None:
    session.execute(event(entry.tenant_id, entry.id, f"request.{status}", by="journal"))
    session.execute(
        audit_entry(entry.tenant_id, ACTOR, "deletion_request.reapplied", entry.id, status=status)
    )
