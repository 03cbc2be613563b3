"""Requests on a data set reach the models that became ready after they came in, on whatever snapshot of it.

A model is looked at for a while after it is ready: a request that was accepted at that very moment did not
see it. What is found is a child of the request like any other, with the same dates; adoption queues it,
unless it needs a person's word: by what it would take from this model, or because the rest of the request has
none.
"""

import json
import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.audit import audit_entry, event
from app.core.bundling import reopened
from app.core.database import transaction
from app.core.logging import get_logger
from app.core.rows import AnyRow
from app.core.settings import Settings
from app.core.snapshots import FAMILY, LEARNED_FROM
from app.deletion_requests.allowance import Reason, asked
from app.deletion_requests.recorded import reasons_for
from models import time_ordered_id

ACTOR = "relay"
SECONDS_TO_LOOK = 120.0
"""Longer than any request takes to be accepted."""

_NEW_MODELS = text("""
SELECT m.id, m.tenant_id, m.dataset_id, m.created_at, m.policy ->> 'method' AS method,
  ARRAY(SELECT name FROM model_tasks WHERE registered_model_id = m.id ORDER BY position) AS tasks,
  coalesce((SELECT max(e.created_at) FROM events e WHERE e.subject_id = m.id AND e.type = 'model.ready'),
    m.created_at) < now() - make_interval(secs => :seconds) AS seen
FROM registered_models m WHERE m.status = 'ready' AND m.fanned_out_at IS NULL
ORDER BY m.id LIMIT 20
""")
# What was asked while the model was registered or before, and was not over by then. What everybody took back,
# nobody wants any more.
_MISSED = f"""
WITH RECURSIVE {FAMILY}
SELECT r.id, r.tasks, r.scope, r.method,
  r.hash_key_id = (SELECT hash_key_id FROM datasets WHERE id = :dataset_id) AS under_one_key
FROM deletion_requests r
WHERE r.registered_model_id IS NULL AND r.tenant_id = :tenant_id AND r.dataset_id IN (SELECT id FROM family)
  AND EXISTS (
    SELECT FROM deletion_requests c WHERE c.parent_id = r.id AND c.status <> 'cancelled'
      AND (c.finished_at IS NULL OR c.finished_at > :registered_at)
  )
  AND NOT EXISTS (
    SELECT FROM deletion_requests c WHERE c.parent_id = r.id AND c.registered_model_id = :model_id
  )
"""  # noqa: S608 (constants of ours)
_THIS = " AND r.id = :id FOR NO KEY UPDATE OF r"
_CHILD = text("""
INSERT INTO deletion_requests (id, tenant_id, parent_id, dataset_id, registered_model_id, api_key_id, tasks,
  scope, method, instance_count, hash_key_id, http_request_id, reference, regulation, metadata, due_at,
  acknowledge_by, acknowledged_at, extension, status, approval)
SELECT :child_id, tenant_id, id, :dataset_id, :model_id, api_key_id, CAST(:tasks AS text[]),
  :scope, :method, :instance_count, hash_key_id, http_request_id, reference, regulation, metadata, due_at,
  acknowledge_by, acknowledged_at, extension, 'awaiting_approval', '{"reasons": []}'
FROM deletion_requests WHERE id = :id
""")
_HAS_NO_WORD = text("""
SELECT EXISTS (
  SELECT FROM deletion_requests WHERE parent_id = :id AND id <> :child_id
    AND (status = 'awaiting_approval' OR error_code IN ('request_rejected', 'approval_expired'))
)
""")
_MAY_GO = text("UPDATE deletion_requests SET status = 'queued', approval = NULL WHERE id = :child_id")
_WAITS = text(
    "UPDATE deletion_requests SET approval = CAST(:approval AS jsonb) WHERE id = :child_id"
    " RETURNING tenant_id"
)
PART_OF_WAITING = Reason(
    "part_of_waiting",
    "Other parts of the request on the data set wait for a person's approval, or were refused it.",
)
# A request on a data set has items of its own only where its children have not all of them.
_NAMED = f"""
SELECT DISTINCT item.instance_hash, item.tenant_id FROM deletion_request_items item
WHERE item.deletion_request_id IN (SELECT id FROM deletion_requests WHERE id = :id OR parent_id = :id)
  AND EXISTS (
    SELECT FROM ({LEARNED_FROM.format(model=":model_id")}) AS snapshot
    JOIN dataset_instances i ON i.dataset_id = snapshot.dataset_id AND i.instance_hash = item.instance_hash
  )
"""  # noqa: S608 (constants of ours)
_COUNT = text(f"SELECT count(*) FROM ({_NAMED}) AS named")  # noqa: S608 (constants of ours)
_ITEMS = text(
    "INSERT INTO deletion_request_items (deletion_request_id, instance_hash, tenant_id)"  # noqa: S608
    f" SELECT :child_id, instance_hash, tenant_id FROM ({_NAMED}) AS named"
)
# A child that has not all of them: from now on the request itself has what the other children have.
_KEEP_ALL = text("""
INSERT INTO deletion_request_items (deletion_request_id, instance_hash, tenant_id)
SELECT DISTINCT CAST(:id AS uuid), item.instance_hash, item.tenant_id FROM deletion_request_items item
WHERE item.deletion_request_id IN (SELECT id FROM deletion_requests WHERE parent_id = :id)
ON CONFLICT DO NOTHING
""")
_DONE = text("UPDATE registered_models SET fanned_out_at = now() WHERE id = :model_id")


@dataclass(frozen=True)
class Child:
    id: uuid.UUID
    tasks: list[str]
    parent_id: uuid.UUID


def fan_out(sessions: sessionmaker[Session], settings: Settings) -> int:
    """How many children were made. One transaction each."""
    with transaction(sessions) as session:
        models = session.execute(_NEW_MODELS, {"seconds": SECONDS_TO_LOOK}).all()
    return sum(_fan_out_to(sessions, settings, model) for model in models)


def _fan_out_to(sessions: sessionmaker[Session], settings: Settings, model: AnyRow) -> int:
    bound = {"tenant_id": model.tenant_id, "dataset_id": model.dataset_id, "model_id": model.id}
    bound |= {"registered_at": model.created_at}
    with transaction(sessions) as session:
        missed = session.execute(text(_MISSED + " ORDER BY r.id"), bound).all()
    ours = [request for request in missed if request.under_one_key]
    made = sum(_give_child(sessions, settings, model, request, bound) for request in ours)
    if model.seen and len(ours) == len(missed):  # while keys are rotated, hashes cannot be compared
        with transaction(sessions) as session:
            session.execute(_DONE, {"model_id": model.id})
    return made


def _give_child(
    sessions: sessionmaker[Session],
    settings: Settings,
    model: AnyRow,
    request: AnyRow,
    bound: dict[str, object],
) -> bool:
    tasks = model.tasks if request.scope == "full" else [t for t in request.tasks if t in model.tasks]
    if not tasks:
        return False
    child_id: uuid.UUID = time_ordered_id()
    with transaction(sessions) as session:
        if session.execute(text(_MISSED + _THIS), bound | {"id": request.id}).one_or_none() is None:
            return False  # another relay was faster
        count = session.scalar(_COUNT, bound | {"id": request.id})
        if not count:
            return False  # no snapshot had any of it that this model learned from
        values: dict[str, object] = {"id": request.id, "child_id": child_id, "model_id": model.id}
        values["tasks"] = list(tasks)
        values["scope"] = "full" if len(tasks) == len(model.tasks) else "partial"
        values["method"] = "retrain" if request.method == "retrain" else model.method
        values |= {"dataset_id": model.dataset_id, "instance_count": count}
        session.execute(_CHILD, values)
        session.execute(_ITEMS, values)
        session.execute(_KEEP_ALL, {"id": request.id})
        _judge(session, settings, model.id, Child(child_id, list(tasks), request.id))
        session.execute(reopened([child_id]))
        told = {"request": str(request.id), "model": str(model.id)}
        session.execute(event(model.tenant_id, request.id, "child.added", child=str(child_id), **told))
        session.execute(audit_entry(model.tenant_id, ACTOR, "deletion_request.fan_out", child_id, **told))
    get_logger(__name__).info("fanned_out", deletion_request_id=str(request.id), model_id=str(model.id))
    return True


def _judge(session: Session, settings: Settings, model_id: uuid.UUID, child: Child) -> None:
    named = {"id": child.parent_id, "child_id": child.id}
    reasons = [PART_OF_WAITING] if session.execute(_HAS_NO_WORD, named).scalar_one() else []
    reasons += reasons_for(session, settings, model_id, [child])
    if not reasons:
        session.execute(_MAY_GO, {"child_id": child.id})
        return
    bound = {"child_id": child.id, "approval": json.dumps(asked(reasons))}
    tenant_id = session.execute(_WAITS, bound).scalar_one()
    codes = [reason.code for reason in reasons]
    session.execute(event(tenant_id, child.id, "request.awaiting_approval", awaits_approval=codes))
