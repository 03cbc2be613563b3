"""The disposal statement: the versions that remembered what a request had forgotten are gone.

A version has forgotten what a request named when it is the request's result or was made from it. All
others of the model remember. So does what runs that began from those have left behind.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.certificates.limits import of_disposal
from app.certificates.unlearning import service_of
from app.core.rows import AnyRow
from app.core.storage import NotStored, Storage
from app.core.wire import rfc3339

ERASED, DELETED = "cryptographically erased", "deleted"
# By whether all that remembered was encrypted, and all of its keys are destroyed.
HOW = {
    True: "cryptographically erased: the bytes were encrypted, each with a key of its own; the keys are "
    "destroyed, and the storage, asked for the bytes, no longer had them",
    False: "deleted from the service's storage, which was asked for the bytes and no longer had them",
}

_REQUEST = text("""
SELECT r.id, r.parent_id, r.reference, r.tenant_id, tenant.name AS tenant, m.id AS model_id, m.name AS model,
  v.id AS version_id, v.number AS version, encode(a.sha256, 'hex') AS sha256, now() AS at
FROM deletion_requests r
JOIN tenants tenant ON tenant.id = r.tenant_id
JOIN registered_models m ON m.id = r.registered_model_id
JOIN model_versions v ON v.id = r.result_version_id
JOIN artifacts a ON a.id = v.artifact_id
WHERE r.id = :request_id AND r.status = 'succeeded'
""")
_FORGOT = """
WITH RECURSIVE forgot AS (
  SELECT id, artifact_id FROM model_versions WHERE id = :version_id
  UNION ALL
  SELECT v.id, v.artifact_id FROM model_versions v JOIN forgot ON v.parent_id = forgot.id
)
"""
_REMEMBERING = text(
    _FORGOT
    + """
SELECT v.number AS version, v.state, a.state AS artifact_state, a.path, encode(a.sha256, 'hex') AS sha256,
  a.key_store,
  (SELECT min(created_at) FROM events WHERE subject_id = v.id AND type = 'version.deleted') AS deleted_at
FROM model_versions v JOIN artifacts a ON a.id = v.artifact_id
WHERE v.registered_model_id = :model_id AND v.id NOT IN (SELECT id FROM forgot) AND v.state <> 'rejected'
ORDER BY v.number
"""
)
# Snapshots and candidates, of whatever state.
_LEFT_BEHIND = text(
    _FORGOT
    + """
SELECT a.path, a.state, a.key_store, a.sha256 IS NOT NULL AS was_stored
FROM artifacts a JOIN jobs j ON j.id = a.job_id
WHERE j.registered_model_id = :model_id
  AND a.id NOT IN (SELECT artifact_id FROM forgot)
  AND (j.base_version_id IS NULL OR j.base_version_id NOT IN (SELECT id FROM forgot))
"""
)


@dataclass(frozen=True)
class Disposal:
    """`erased`: of these versions the key was destroyed, too. `all_erased`: of these and of whatever runs had
    left behind."""

    request: AnyRow
    gone: Sequence[AnyRow]
    erased: frozenset[int]
    all_erased: bool


def read_disposal(session: Session, storage: Storage, request_id: uuid.UUID) -> Disposal | None:
    """None while anything that remembers is still there. The storage itself is asked, not only the rows."""
    request = session.execute(_REQUEST, {"request_id": request_id}).one_or_none()
    if request is None:
        return None
    bound = {"version_id": request.version_id, "model_id": request.model_id}
    remembering = session.execute(_REMEMBERING, bound).all()
    left_behind = session.execute(_LEFT_BEHIND, bound).all()
    if not remembering or any(row.state != "deleted" for row in left_behind):
        return None
    if any((row.state, row.artifact_state) != ("deleted", "deleted") for row in remembering):
        return None
    if any(_is_stored(storage, row.path) for row in remembering):
        return None
    erased = [row.version for row in remembering if storage.is_erased(row.path, row.key_store)]
    runs = all(storage.is_erased(row.path, row.key_store) for row in left_behind if row.was_stored)
    return Disposal(request, remembering, frozenset(erased), runs and len(erased) == len(remembering))


def disposed_subjects(disposal: Disposal) -> Mapping[str, str]:
    return {f"{disposal.request.model}@{row.version}": row.sha256 for row in disposal.gone}


def disposal_predicate(disposal: Disposal, service: str) -> dict[str, Any]:
    request = disposal.request
    return {
        "issued_at": rfc3339(request.at),
        "service": service_of(service),
        "tenant": {"id": str(request.tenant_id), "name": request.tenant},
        "request": {
            "id": str(request.id),
            "parent": str(request.parent_id) if request.parent_id else None,
            "reference": request.reference,
        },
        "model": {"id": str(request.model_id), "name": request.model},
        "result": {"version": request.version, "digest": f"sha256:{request.sha256}"},
        "disposed": [
            {
                "version": row.version,
                "digest": f"sha256:{row.sha256}",
                "deleted_at": rfc3339(row.deleted_at) if row.deleted_at else None,
                "how": ERASED if row.version in disposal.erased else DELETED,
            }
            for row in disposal.gone
        ],
        "method": HOW[disposal.all_erased],
        "does_not_prove": of_disposal(disposal.all_erased),
    }


def _is_stored(storage: Storage, path: str) -> bool:
    try:
        storage.size(path)
    except NotStored:
        return False
    return True
