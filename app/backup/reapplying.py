"""Asking again for what a restored database does not know: the journal in the storage does."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.audit import audit_entry, event
from app.core.bundling import reopened
from app.core.database import transaction
from app.core.hashing import advance_hashes
from app.core.journal import Entry, read_entries
from app.core.settings import Settings
from app.core.storage import Storage

ACTOR = "operator"

_KNOWN = text("SELECT status FROM deletion_requests WHERE id = :id FOR UPDATE")
_MODEL = text("SELECT id FROM registered_models WHERE id = :id AND tenant_id = :tenant AND status = 'ready'")
# Without a job: the relay gives it a place in its model's open one.
_QUEUE = text("""
INSERT INTO deletion_requests (id, tenant_id, parent_id, dataset_id, registered_model_id, tasks, scope,
  method, instance_count, hash_key_id, reference, regulation, metadata, created_at, due_at, acknowledge_by,
  status, journaled_at, guarantee, approval, approved_at, acknowledged_at, extension)
VALUES (:id, :tenant_id, :parent_id, :dataset_id, :registered_model_id, :tasks, :scope, :method, :count,
  :hash_key_id, :reference, :regulation, CAST(:metadata AS jsonb), CAST(:created_at AS timestamptz),
  CAST(:due_at AS timestamptz), CAST(:acknowledge_by AS timestamptz), :status, now(), :guarantee,
  CAST(:approval AS jsonb), CAST(:approved_at AS timestamptz),
  CAST(:acknowledged_at AS timestamptz), CAST(:extension AS jsonb))
""")
# What the client sent: a request on a data set. Its status is that of its children.
_PARENT = text("""
INSERT INTO deletion_requests (id, tenant_id, dataset_id, tasks, scope, method, instance_count, hash_key_id,
  reference, regulation, metadata, created_at, due_at, acknowledge_by, guarantee, acknowledged_at, extension)
VALUES (:id, :tenant_id, :dataset_id, :tasks, :scope, :method, :instance_count, :hash_key_id,
  :reference, :regulation, CAST(:metadata AS jsonb), CAST(:created_at AS timestamptz),
  CAST(:due_at AS timestamptz), CAST(:acknowledge_by AS timestamptz), :guarantee,
  CAST(:acknowledged_at AS timestamptz), CAST(:extension AS jsonb))
ON CONFLICT (id) DO NOTHING RETURNING id
""")
_ITEMS = text("""
INSERT INTO deletion_request_items (deletion_request_id, instance_hash, tenant_id)
SELECT :id, decode(named, 'hex'), :tenant_id FROM unnest(CAST(:instances AS text[])) AS named
ON CONFLICT DO NOTHING
""")
# What the person was told cannot be taken back, and what the database knows of it stands.
_NOTICE = text("""
UPDATE deletion_requests SET
  acknowledged_at = coalesce(acknowledged_at, CAST(:acknowledged_at AS timestamptz)),
  extension = coalesce(extension, CAST(:extension AS jsonb)),
  due_at = CASE WHEN extension IS NULL AND CAST(:extension AS jsonb) IS NOT NULL
    THEN CAST(:due_at AS timestamptz) ELSE due_at END,
  alarms = CASE WHEN extension IS NULL AND CAST(:extension AS jsonb) IS NOT NULL
    THEN array_remove(array_remove(alarms, 'due_soon'), 'due_passed') ELSE alarms END,
  revision = revision + 1
WHERE id = :id AND tenant_id = :tenant_id
  AND (acknowledged_at IS NULL AND CAST(:acknowledged_at AS timestamptz) IS NOT NULL
       OR extension IS NULL AND CAST(:extension AS jsonb) IS NOT NULL)
RETURNING id
""")
_KEY = text("SELECT hash_key_id FROM datasets WHERE id = :id FOR KEY SHARE")
# Where it waits, at once. Where the dump has it running, the relay does so when it reclaims the lease.
_CANCEL = text("""
UPDATE deletion_requests
SET status = CASE status WHEN 'running' THEN 'cancelling' ELSE 'cancelled' END,
  finished_at = CASE status WHEN 'running' THEN NULL ELSE now() END,
  cancel_requested_at = now(), journaled_at = now(), revision = revision + 1
WHERE id = :id AND status IN ('awaiting_approval', 'queued', 'running', 'needs_review') RETURNING status
""")
_URGENCY = text("""
UPDATE jobs SET revision = revision + 1, due_at = (
  SELECT min(due_at) FROM deletion_requests AS request
  WHERE request.job_id = jobs.id AND request.status NOT IN ('succeeded', 'failed', 'cancelled')
) WHERE id = (SELECT job_id FROM deletion_requests WHERE id = :id)
  AND status NOT IN ('succeeded', 'failed', 'cancelled')
""")
_OF_NOTICE = ("id", "tenant_id", "acknowledged_at", "extension", "due_at")
_END_EMPTY_JOBS = text("""
UPDATE jobs SET status = 'cancelled', accepts_requests = false, finished_at = now(), phase = NULL,
  revision = revision + 1
WHERE kind = 'unlearn' AND status IN ('queued', 'needs_review') AND NOT EXISTS (
  SELECT FROM deletion_requests AS request WHERE request.job_id = jobs.id
    AND request.status IN ('queued', 'running', 'cancelling', 'needs_review')
) RETURNING id, tenant_id
""")


@dataclass
class Reapplied:
    """`noticed`: requests that the database knew, without all of the notice that was given. `impossible`:
    requests on models that the database does not have. `damaged`: paths in the storage of entries that cannot
    be read."""

    queued: int = 0
    cancelled: int = 0
    noticed: int = 0
    impossible: list[uuid.UUID] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def reapply_journal(sessions: sessionmaker[Session], storage: Storage, settings: Settings) -> Reapplied:
    """May be run twice. One transaction per entry. Raises `UnknownHashKey`: the journal is under a newer hash
    key than the database; bring the database under it first."""
    done = Reapplied()
    for entry in read_entries(storage, done.damaged):
        with transaction(sessions) as session:
            _reapply(session, entry, settings, done)
    with transaction(sessions) as session:
        for job in session.execute(_END_EMPTY_JOBS).all():
            session.execute(event(job.tenant_id, job.id, "job.cancelled", by="journal"))
            session.execute(audit_entry(job.tenant_id, ACTOR, "job.cancelled", job.id))
    return done


def _reapply(session: Session, entry: Entry, settings: Settings, done: Reapplied) -> None:
    known = session.execute(_KNOWN, {"id": entry.id}).one_or_none()
    if known is not None:
        done.noticed += _give_notice(session, entry)
    if entry.cancelled:
        cancelled = session.scalar(_CANCEL, {"id": entry.id}) if known is not None else None
        if cancelled is not None:
            _tell(session, entry.tenant_id, entry.id, cancelled)
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
    waits = entry.waits_because is not None
    values["parent_id"], values["extension"] = _parent(session, entry), _json(entry.extension)
    values["status"] = "awaiting_approval" if waits else "queued"
    values["approval"] = json.dumps({"reasons": entry.waits_because}) if waits else None
    left_out = ("instances", "cancelled", "parent", "others", "waits_because")
    session.execute(_QUEUE, {name: values[name] for name in values if name not in left_out})
    session.execute(_ITEMS, {name: values[name] for name in ("id", "tenant_id", "instances")})
    session.execute(reopened([entry.id]))
    _tell(session, entry.tenant_id, entry.id, values["status"])
    done.queued += 1


def _parent(session: Session, entry: Entry) -> uuid.UUID | None:
    """The id of the request on the data set that this one is part of; it is there when this returns."""
    if entry.parent is None:
        return None
    shared: dict[str, Any] = {name: getattr(entry, name) for name in ("tenant_id", "hash_key_id")}
    shared |= {"metadata": json.dumps(entry.parent["metadata"])}
    values = {"dataset_id": entry.dataset_id} | _notices(entry.parent) | shared
    parent_id = uuid.UUID(values["id"])
    if session.scalar(_PARENT, values) is not None:
        session.execute(audit_entry(entry.tenant_id, ACTOR, "deletion_request.reapplied", parent_id))
    elif session.scalar(_NOTICE, values) is not None:
        _tell_of_notice(session, entry.tenant_id, parent_id, entry.parent)
    if entry.others:
        named = [*entry.instances, *entry.others]
        session.execute(_ITEMS, {"id": parent_id, "tenant_id": entry.tenant_id, "instances": named})
    return parent_id


def _give_notice(session: Session, entry: Entry) -> bool:
    """To what the database knows: the request, and the one on a data set that it is part of. Whether any of
    it was new."""
    told = [asdict(entry), *([entry.parent] if entry.parent is not None else [])]
    noticed = False
    for each in told:
        values = _notices(each) | {"tenant_id": entry.tenant_id}
        if session.scalar(_NOTICE, {name: values[name] for name in _OF_NOTICE}) is not None:
            _tell_of_notice(session, entry.tenant_id, uuid.UUID(str(each["id"])), each)
            noticed = True
    if noticed:
        session.execute(_URGENCY, {"id": entry.id})
    return noticed


def _notices(told: Mapping[str, Any]) -> dict[str, Any]:
    """As they are bound; entries of earlier days have none."""
    return {**told, "acknowledged_at": told.get("acknowledged_at"), "extension": _json(told.get("extension"))}


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _tell_of_notice(
    session: Session, tenant_id: uuid.UUID, request_id: uuid.UUID, told: Mapping[str, Any]
) -> None:
    notices = {name: told.get(name) for name in ("acknowledged_at", "extension")}
    session.execute(event(tenant_id, request_id, "deadline.reapplied", by="journal", **notices))
    session.execute(audit_entry(tenant_id, ACTOR, "deletion_request.notice_reapplied", request_id, **notices))


def _under_key_of(session: Session, entry: Entry, settings: Settings) -> Entry:
    """As the data set's index names instances: hash keys may have been rotated since it was written."""
    key_id = session.scalar(_KEY, {"id": entry.dataset_id})
    if key_id is None or key_id == entry.hash_key_id:
        return entry
    hashes = [bytes.fromhex(each) for each in entry.instances]
    others = [bytes.fromhex(each) for each in entry.others]
    both = (
        [each.hex() for each in advance_hashes(old, entry.tenant_id, settings, entry.hash_key_id, key_id)]
        for old in (hashes, others)
    )
    return replace(entry, instances=next(both), others=next(both), hash_key_id=key_id)


def _tell(session: Session, tenant_id: uuid.UUID, request_id: uuid.UUID, status: str) -> None:
    session.execute(event(tenant_id, request_id, f"request.{status}", by="journal"))
    session.execute(audit_entry(tenant_id, ACTOR, "deletion_request.reapplied", request_id, status=status))
