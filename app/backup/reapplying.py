"""Asking again for what a restored database does not know: the journal in the storage does."""

import json
import uuid
from dataclasses import asdict, dataclass, field, replace

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.audit import audit_entry, event
from app.core.database import transaction
from app.core.hashing import advance_hashes
from app.core.journal import Entry, read_entries
from app.core.settings import Settings
from app.core.storage import Storage

ACTOR = "operator"

_KNOWN = text("SELECT status FROM deletion_requests WHERE id = :id FOR UPDATE")
_MODEL = text("SELECT id FROM registered_models WHERE id = :id AND tenant_id = :tenant AND status = 'ready'")
# Without a job: the relay gives it a place in its model's open one. Without its parent, which may be unknown.
_QUEUE = text("""
INSERT INTO deletion_requests (id, tenant_id, dataset_id, registered_model_id, tasks, scope, method,
  instance_count, hash_key_id, reference, regulation, metadata, created_at, due_at, status, journaled_at)
VALUES (:id, :tenant_id, :dataset_id, :registered_model_id, :tasks, :scope, :method, :count, :hash_key_id,
  :reference, :regulation, CAST(:metadata AS jsonb), CAST(:created_at AS timestamptz),
  CAST(:due_at AS timestamptz), 'queued', now())
""")
_ITEMS = text("""
INSERT INTO deletion_request_items (deletion_request_id, instance_hash, tenant_id)
SELECT :id, decode(named, 'hex'), :tenant_id FROM unnest(CAST(:instances AS text[])) AS named
""")
_KEY = text("SELECT hash_key_id FROM datasets WHERE id = :id FOR KEY SHARE")
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


def reapply_journal(sessions: sessionmaker[Session], storage: Storage, settings: Settings) -> Reapplied:
    """May be run twice. One transaction per entry. Raises `UnknownHashKey`: the journal is under a newer hash
    key than the database; bring the database under it first."""
    done = Reapplied()
    for entry in read_entries(storage):
        with transaction(sessions) as session:
            _reapply(session, entry, settings, done)
    return done


def _reapply(session: Session, entry: Entry, settings: Settings, done: Reapplied) -> None:
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
    entry = _under_key_of(session, entry, settings)
    values = asdict(entry) | {"count": len(entry.instances), "metadata": json.dumps(entry.metadata)}
    session.execute(_QUEUE, {name: values[name] for name in values if name not in ("instances", "cancelled")})
    session.execute(_ITEMS, {name: values[name] for name in ("id", "tenant_id", "instances")})
    _tell(session, entry, "queued")
    done.queued += 1


def _under_key_of(session: Session, entry: Entry, settings: Settings) -> Entry:
    """As the data set's index names instances: hash keys may have been rotated since it was written."""
    key_id = session.scalar(_KEY, {"id": entry.dataset_id})
    if key_id is None or key_id == entry.hash_key_id:
        return entry
    hashes = [bytes.fromhex(each) for each in entry.instances]
    moved = advance_hashes(hashes, entry.tenant_id, settings, entry.hash_key_id, key_id)
    return replace(entry, instances=[each.hex() for each in moved], hash_key_id=key_id)


def _tell(session: Session, entry: Entry, status: str) -> None:
    session.execute(event(entry.tenant_id, entry.id, f"request.{status}", by="journal"))
    session.execute(
        audit_entry(entry.tenant_id, ACTOR, "deletion_request.reapplied", entry.id, status=status)
    )
