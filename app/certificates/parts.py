"""The statement of a request on a data set: which parts it has, one per registered model, what became of
each, and the digest of each one's certificate. It binds them together: none can be left out unseen."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.certificates.limits import of_parts
from app.certificates.unlearning import service_of
from app.core.rows import AnyRow
from app.core.wire import rfc3339

_REQUEST = text("""
SELECT r.id, r.reference, r.regulation, r.tasks, r.scope, r.instance_count, r.hash_key_id, r.created_at,
  r.due_at, r.acknowledged_at, r.extension, r.tenant_id, tenant.name AS tenant, d.name AS dataset,
  d.fingerprint, now() AS at
FROM deletion_requests r JOIN tenants tenant ON tenant.id = r.tenant_id JOIN datasets d ON d.id = r.dataset_id
WHERE r.id = :id
""")
_PARTS = text("""
SELECT c.id, c.status, c.instance_count, c.finished_at, c.error_code, m.name AS model, d.name AS dataset,
  certificate.envelope
FROM deletion_requests c
JOIN registered_models m ON m.id = c.registered_model_id
JOIN datasets d ON d.id = c.dataset_id
LEFT JOIN certificates certificate ON certificate.deletion_request_id = c.id
  AND certificate.version_id = c.result_version_id AND certificate.kind = 'unlearning'
WHERE c.parent_id = :id ORDER BY c.id
""")


@dataclass(frozen=True)
class Parts:
    """A request on a data set that is over, and its parts in the order of their ids."""

    request: AnyRow
    parts: Sequence[AnyRow]

    @property
    def certified(self) -> list[AnyRow]:
        return [part for part in self.parts if part.status == "succeeded"]


def read_parts(session: Session, request_id: uuid.UUID) -> Parts | None:
    """None while a part is under way, or has not been certified yet."""
    parts = session.execute(_PARTS, {"id": request_id}).all()
    if any(part.finished_at is None for part in parts):
        return None
    if any(part.status == "succeeded" and part.envelope is None for part in parts):
        return None
    return Parts(session.execute(_REQUEST, {"id": request_id}).one(), parts)


def parts_subjects(parts: Parts) -> Mapping[str, str]:
    """The certificates."""
    return {f"certificate/{part.id}": _digest(part) for part in parts.certified}


def parts_predicate(parts: Parts, service: str) -> dict[str, Any]:
    """`service`: the URL under which clients reach it."""
    row = parts.request
    return {
        "issued_at": rfc3339(row.at),
        "service": service_of(service),
        "tenant": {"id": str(row.tenant_id), "name": row.tenant},
        "request": {
            "id": str(row.id),
            "reference": row.reference,
            "regulation": row.regulation,
            "received_at": rfc3339(row.created_at),
            "due_at": rfc3339(row.due_at) if row.due_at else None,
            "acknowledged_at": rfc3339(row.acknowledged_at) if row.acknowledged_at else None,
            "extension": row.extension,
            "tasks": list(row.tasks),
            "scope": row.scope,
            "instances": {"count": row.instance_count, "hash_key_id": row.hash_key_id},
        },
        "dataset": {"name": row.dataset, "fingerprint": row.fingerprint},
        "parts": [_part(part) for part in parts.parts],
        "does_not_prove": of_parts(len(parts.parts) - len(parts.certified)),
    }


def _part(part: AnyRow) -> dict[str, Any]:
    return {
        "request": str(part.id),
        "model": part.model,
        "dataset": part.dataset,
        "instances": part.instance_count,
        "status": part.status,
        "finished_at": rfc3339(part.finished_at),
        "error_code": part.error_code,
        "certificate": _digest(part) if part.status == "succeeded" else None,
    }


def _digest(part: AnyRow) -> str:
    """SHA-256 of the certificate as it is handed out, in hexadecimal."""
    return hashlib.sha256(part.envelope.encode()).hexdigest()
