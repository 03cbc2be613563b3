"""What the database knows about a request that was carried out: the facts that its certificate states."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.core.rows import AnyRow

# Beyond this many the hashes themselves are left out; their digest stands for them.
LISTED_HASHES = 1000

_REQUEST = text("""
SELECT r.id, r.parent_id, r.reference, r.regulation, r.tasks, r.scope, r.method,
  r.guarantee AS guarantee_asked,
  r.instance_count,
  r.hash_key_id, r.created_at, r.due_at, r.finished_at, r.acknowledged_at, r.extension,
  r.tenant_id, tenant.name AS tenant,
  m.id AS model_id, m.name AS model, d.name AS dataset, d.fingerprint, d.holdout_fingerprint,
  v.id AS version_id, v.number AS version, v.guarantee, v.report, v.created_at AS published_at,
  encode(a.sha256, 'hex') AS sha256, parent.number AS base_version, encode(base.sha256, 'hex') AS base_sha256,
  coalesce(v.report -> 'run' -> 'requests' @> to_jsonb(r.id), false) AS unlearned, now() AS at
FROM deletion_requests r
JOIN tenants tenant ON tenant.id = r.tenant_id
JOIN registered_models m ON m.id = r.registered_model_id
JOIN datasets d ON d.id = r.dataset_id
JOIN model_versions v ON v.id = r.result_version_id
JOIN artifacts a ON a.id = v.artifact_id
LEFT JOIN model_versions parent ON parent.id = v.parent_id
LEFT JOIN artifacts base ON base.id = parent.artifact_id
WHERE r.id = :request_id
""")
_HASHES = text("""
SELECT encode(sha256(string_agg(instance_hash, ''::bytea ORDER BY instance_hash)), 'hex') AS digest,
  CASE WHEN count(*) <= :most THEN array_agg(encode(instance_hash, 'hex') ORDER BY instance_hash) END
    AS hashes
FROM deletion_request_items WHERE deletion_request_id = :request_id
""")
# What this version has forgotten though it was no longer in the data; and what the request on the data set
# named beyond what this model ever learned from (one child or other has it, or that request itself).
_ABSENT = text("""
SELECT parent.instance_count - r.instance_count AS never_had,
  ARRAY(
    SELECT encode(hash, 'hex') FROM (
      SELECT item.instance_hash AS hash FROM deletion_request_items item
      JOIN deletion_requests other ON other.id = item.deletion_request_id
      WHERE parent.instance_count > r.instance_count AND other.hash_key_id = r.hash_key_id
        AND (other.id = r.parent_id OR other.parent_id = r.parent_id)
      EXCEPT SELECT instance_hash FROM deletion_request_items WHERE deletion_request_id = r.id
    ) AS never ORDER BY hash LIMIT :most + 1
  ) AS never_hashes,
  ARRAY(
    SELECT encode(item.instance_hash, 'hex') FROM deletion_request_items item
    WHERE item.deletion_request_id = r.id AND NOT EXISTS (
      SELECT FROM dataset_instances i
      WHERE i.dataset_id = r.dataset_id AND i.instance_hash = item.instance_hash
    ) AND EXISTS (
      SELECT FROM forgotten_supervision ledger WHERE ledger.registered_model_id = r.registered_model_id
        AND ledger.instance_hash = item.instance_hash AND ledger.version_id = r.result_version_id
        AND ledger.task = ANY(r.tasks)
    ) ORDER BY 1 LIMIT :most + 1
  ) AS gone_hashes
FROM deletion_requests r LEFT JOIN deletion_requests parent ON parent.id = r.parent_id
WHERE r.id = :request_id
""")
# What the request named and the ledger holds, by the version that forgot it.
_FORGOTTEN = text("""
SELECT v.id AS version_id, v.number AS version, v.guarantee, count(*) AS labels
FROM deletion_request_items item
JOIN forgotten_supervision ledger ON ledger.registered_model_id = :model_id
  AND ledger.instance_hash = item.instance_hash AND ledger.task = ANY(:tasks)
JOIN model_versions v ON v.id = ledger.version_id
WHERE item.deletion_request_id = :request_id
GROUP BY v.id ORDER BY v.number
""")
# From the version back to the last one that was trained, each with what it forgot.
_LINE = text("""
WITH RECURSIVE line AS (
  SELECT id, parent_id, number, guarantee FROM model_versions WHERE id = :version_id
  UNION ALL
  SELECT v.id, v.parent_id, v.number, v.guarantee FROM model_versions v
  JOIN line ON v.id = line.parent_id AND line.guarantee = 'empirical'
)
SELECT line.number AS version, line.guarantee,
  (SELECT count(*) FROM forgotten_supervision ledger WHERE ledger.registered_model_id = :model_id
     AND ledger.version_id = line.id) AS labels
FROM line ORDER BY line.number
""")


@dataclass(frozen=True)
class Facts:
    """`hashes`, `gone` and `never_had`: none where there are too many to be listed. `gone`: of instances that
    were no longer in the data; `never_had`: of those that only other models of a data set's request learned
    from. `forgotten`: the request's labels in the ledger, by version. `line`: the versions back to the last
    one that was trained, itself included."""

    request: AnyRow
    digest: str
    hashes: list[str] | None
    gone: list[str] | None
    never_had: list[str] | None
    never_had_count: int
    forgotten: list[AnyRow]
    line: list[AnyRow]

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = self.request.report or {}
        return found


def read_facts(session: Session, request_id: uuid.UUID) -> Facts:
    """Of a request that has succeeded by a version."""
    request = session.execute(_REQUEST, {"request_id": request_id}).one()
    named = {"request_id": request_id, "model_id": request.model_id, "tasks": request.tasks}
    hashes = session.execute(_HASHES, {"request_id": request_id, "most": LISTED_HASHES}).one()
    absent = session.execute(_ABSENT, {"request_id": request_id, "most": LISTED_HASHES}).one()
    line = {"version_id": request.version_id, "model_id": request.model_id}
    return Facts(
        request=request,
        digest=hashes.digest,
        hashes=hashes.hashes,
        gone=_listed(absent.gone_hashes),
        never_had=_listed(absent.never_hashes),
        never_had_count=absent.never_had or 0,
        forgotten=list(session.execute(_FORGOTTEN, named).all()),
        line=list(session.execute(_LINE, line).all()),
    )


def _listed(hashes: list[str]) -> list[str] | None:
    return hashes if len(hashes) <= LISTED_HASHES else None
