"""What else a restored database does not know: legal holds, policies, destructions, OpenDSR requests."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.audit import audit_entry, event
from app.core.database import transaction
from app.core.journaled_rows import Kind, Row, read_rows
from app.core.storage import Storage
from models import time_ordered_id
from models.states import ModelStatus

ACTOR = "operator"

_HOLD = text("SELECT lifted_at FROM legal_holds WHERE id = CAST(:id AS uuid)")
_MODEL = text("""
SELECT status, policy, decided_at < CAST(:decided_at AS timestamptz) AS older FROM registered_models
WHERE id = CAST(:id AS uuid) AND tenant_id = CAST(:tenant_id AS uuid) FOR UPDATE
""")
# On the whole model, where the version is one that the backup does not have.
_PLACE = text("""
INSERT INTO legal_holds (id, created_at, tenant_id, registered_model_id, version_id, reason, placed_by,
  journaled_at)
SELECT h.id, h.created_at, h.tenant_id, h.registered_model_id, (
    SELECT v.id FROM model_versions v
    WHERE v.id = h.version_id AND v.registered_model_id = h.registered_model_id
  ), h.reason, h.placed_by, now()
FROM jsonb_populate_record(NULL::legal_holds, CAST(:row AS jsonb)) AS h
ON CONFLICT DO NOTHING RETURNING version_id
""")
_LIFT = text("""
UPDATE legal_holds AS own SET lifted_at = h.lifted_at, lifted_by = h.lifted_by, lift_reason = h.lift_reason,
  journaled_at = now()
FROM jsonb_populate_record(NULL::legal_holds, CAST(:row AS jsonb)) AS h
WHERE own.id = h.id AND own.lifted_at IS NULL
""")
_DECIDE = text("""
UPDATE registered_models SET policy = CAST(:policy AS jsonb),
  decided_at = CAST(:decided_at AS timestamptz), journaled_at = now()
WHERE id = CAST(:id AS uuid)
""")
_DESTROY = text("""
UPDATE registered_models SET status = 'destroyed', error_code = 'model_destroyed', error_detail = :destroyed
WHERE id = CAST(:id AS uuid)
""")
_OPENDSR = text("""
INSERT INTO opendsr_requests (id, created_at, tenant_id, subject_request_id, regulation, api_version,
  submitted_at, expected_at, instance_count, deletion_request_id, body_digest, journaled_at)
SELECT r.id, r.created_at, r.tenant_id, r.subject_request_id, r.regulation, r.api_version, r.submitted_at,
  r.expected_at, r.instance_count, r.deletion_request_id, r.body_digest, now()
FROM jsonb_populate_record(NULL::opendsr_requests, CAST(:row AS jsonb)) AS r
WHERE r.deletion_request_id IS NULL
  OR EXISTS (SELECT FROM deletion_requests d WHERE d.id = r.deletion_request_id)
ON CONFLICT DO NOTHING RETURNING id
""")
_CALLBACK = text("""
INSERT INTO opendsr_callbacks (id, tenant_id, opendsr_request_id, url)
VALUES (:id, CAST(:tenant_id AS uuid), CAST(:request AS uuid), :url)
""")
_KNOWN_OPENDSR = text("SELECT EXISTS (SELECT FROM opendsr_requests WHERE id = CAST(:id AS uuid))")
_TENANT = text("SELECT EXISTS (SELECT FROM tenants WHERE id = CAST(:tenant_id AS uuid))")


@dataclass
class ReappliedRows:
    """`widened`: holds that are on the whole model now, because the backup does not have their version.
    `covered`: holds beside which there is one on the whole model already, where there can be no second.
    `nothing_to_hold`: holds in force on models that it does not have. `without_request`: OpenDSR requests
    whose deletion request it does not have, taken back or impossible to ask again."""

    held: int = 0
    lifted: int = 0
    policies: int = 0
    destroyed: int = 0
    opendsr: int = 0
    widened: list[str] = field(default_factory=list)
    covered: list[str] = field(default_factory=list)
    nothing_to_hold: list[str] = field(default_factory=list)
    without_request: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def reapply_rows(sessions: sessionmaker[Session], storage: Storage) -> ReappliedRows:
    """After the deletion requests. May be run twice. One transaction per row; holds come first: what was
    destroyed was under none by then."""
    done = ReappliedRows()
    steps: dict[Kind, Any] = {"holds": _hold, "models": _decide, "opendsr": _opendsr}
    for kind, step in steps.items():
        for row in read_rows(storage, kind, done.damaged):
            with transaction(sessions) as session:
                if session.scalar(_TENANT, {"tenant_id": row["tenant_id"]}):
                    step(session, row, done)
    return done


def _hold(session: Session, row: Row, done: ReappliedRows) -> None:
    bound = {"row": json.dumps(row)}
    known = session.execute(_HOLD, {"id": row["id"]}).one_or_none()
    if known is not None:
        if row["lifted_at"] is not None and session.execute(_LIFT, bound).rowcount:  # type: ignore[attr-defined]
            _tell(session, row, row["registered_model_id"], "legal_hold.lift_reapplied", hold=row["id"])
            done.lifted += 1
        return
    if row["lifted_at"] is not None:
        return
    model = {"id": row["registered_model_id"], "tenant_id": row["tenant_id"], "decided_at": None}
    if session.execute(_MODEL, model).one_or_none() is None:
        done.nothing_to_hold.append(row["id"])
        return
    placed = session.execute(_PLACE, bound).one_or_none()
    if placed is None:
        done.covered.append(row["id"])
        return
    widened = row["version_id"] is not None and placed.version_id is None
    told = {"hold": row["id"], "reason": row["reason"], "widened": widened}
    _tell(session, row, row["registered_model_id"], "legal_hold.reapplied", **told)
    done.held += 1
    done.widened += [row["id"]] if widened else []


def _decide(session: Session, row: Row, done: ReappliedRows) -> None:
    bound = {name: row[name] for name in ("id", "tenant_id", "decided_at")}
    known = session.execute(_MODEL, bound).one_or_none()
    if known is None or not known.older:
        return
    session.execute(_DECIDE, bound | {"policy": json.dumps(row["policy"])})
    if row["destroyed"] is not None and known.status != ModelStatus.DESTROYED:
        session.execute(_DESTROY, {"id": row["id"], "destroyed": row["destroyed"]})
        _tell(session, row, row["id"], "model.destroy_reapplied", reason=row["destroyed"])
        done.destroyed += 1
    elif known.policy != row["policy"]:
        _tell(session, row, row["id"], "model.policy_reapplied", policy=row["policy"])
        done.policies += 1


def _opendsr(session: Session, row: Row, done: ReappliedRows) -> None:
    """It is told from now on, whatever it had been told: its request may be where it was already."""
    if session.scalar(_KNOWN_OPENDSR, {"id": row["id"]}):
        return
    if session.scalar(_OPENDSR, {"row": json.dumps(row)}) is None:
        done.without_request.append(row["id"])
        return
    for url in row["callbacks"]:
        bound = {"id": time_ordered_id(), "tenant_id": row["tenant_id"], "request": row["id"], "url": url}
        session.execute(_CALLBACK, bound)
    session.execute(
        audit_entry(uuid.UUID(row["tenant_id"]), ACTOR, "opendsr.reapplied", uuid.UUID(row["id"]))
    )
    done.opendsr += 1


def _tell(session: Session, row: Row, subject: str, action: str, **told: Any) -> None:
    tenant_id, subject_id = uuid.UUID(row["tenant_id"]), uuid.UUID(subject)
    session.execute(
        event(tenant_id, subject_id, action.replace("legal_hold.", "hold."), by="journal", **told)
    )
    session.execute(audit_entry(tenant_id, ACTOR, action, subject_id, None, **told))
