"""Writing a request down, in as few statements as it takes."""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.instances import UNPACKED, NamedInstances
from app.deletion_requests.allowance import Reason, asked
from app.deletion_requests.schemas import Guarantee, Scope
from app.deletion_requests.targets import hash_key_changed

# The hashes are those of the data set's key, and stay so until the commit: whoever rotates keys waits.
_COLUMNS = """
  INSERT INTO deletion_requests (id, tenant_id, parent_id, dataset_id, registered_model_id, api_key_id, tasks,
    scope, method, instance_count, already_forgotten, hash_key_id, http_request_id, reference, regulation,
    metadata, due_at, acknowledge_by, guarantee, status, finished_at, result_version_id, approval)
  SELECT :id, :tenant_id, :parent_id, :dataset_id, :model_id, :api_key_id, CAST(:tasks AS text[]),
    :scope, :method, :instance_count, :already_forgotten, :hash_key_id, :http_request_id, :reference,
    :regulation, CAST(:metadata AS jsonb), :due_at, :acknowledge_by, :guarantee, :status,
    CASE WHEN :status = 'succeeded' THEN now() END, :result_version_id, CAST(:approval AS jsonb)
  FROM datasets WHERE id = :dataset_id AND hash_key_id = :hash_key_id
  FOR KEY SHARE
  RETURNING created_at
"""
_AUDIT = """
  INSERT INTO audit_log (tenant_id, actor, action, subject_id, request_id, data)
  SELECT :tenant_id, :actor, 'deletion_request.create', :id, :http_request_id, CAST(:audited AS jsonb)
  FROM request
"""
# In the order of the primary key, whose index then only grows at its end.
_WITH_ITEMS = text(f"""
WITH request AS ({_COLUMNS}), audited AS ({_AUDIT}), items AS (
  INSERT INTO deletion_request_items (deletion_request_id, instance_hash, tenant_id)
  SELECT :id, instance_hash, :tenant_id FROM request, ({UNPACKED}) AS named ORDER BY instance_hash
), history AS (
  INSERT INTO events (tenant_id, subject_id, type, data)
  SELECT :tenant_id, :id, 'request.' || :status, CAST(:audited AS jsonb) FROM request
  WHERE :status <> 'queued'
)
SELECT created_at FROM request
""")
_WITHOUT_ITEMS = text(f"WITH request AS ({_COLUMNS}), audited AS ({_AUDIT}) SELECT created_at FROM request")


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row of `deletion_requests`, as it begins."""

    id: uuid.UUID
    parent_id: uuid.UUID | None
    dataset_id: uuid.UUID
    model_id: uuid.UUID | None
    tasks: list[str]
    scope: Scope
    method: str
    guarantee: Guarantee
    already_forgotten: int
    status: str | None
    result_version_id: uuid.UUID | None
    reference: str | None
    regulation: str | None
    metadata: dict[str, Any]
    due_at: datetime | None
    acknowledge_by: datetime | None
    reasons: tuple[Reason, ...] = ()  # why it waits for a person's word


async def record(
    session: AsyncSession,
    caller: Caller,
    row: NewRow,
    instances: NamedInstances,
    hash_key_id: str,
    *,
    with_items: bool = True,
) -> datetime:
    """When it was recorded. A request on a data set has no items of its own where all of its children have
    the same ones.

    Raises `Conflict` (hash_key_changed)."""
    audited: dict[str, Any] = {
        "instances": instances.count,
        "tasks": row.tasks,
        "method": row.method,
        "guarantee": row.guarantee,
    }
    if row.reasons:
        audited["awaits_approval"] = [reason.code for reason in row.reasons]
    bound: dict[str, Any] = {
        "id": row.id,
        "tenant_id": caller.tenant_id,
        "parent_id": row.parent_id,
        "dataset_id": row.dataset_id,
        "model_id": row.model_id,
        "api_key_id": caller.key_id,
        "tasks": row.tasks,
        "scope": row.scope,
        "method": row.method,
        "guarantee": row.guarantee,
        "instance_count": instances.count,
        "already_forgotten": row.already_forgotten,
        "hash_key_id": hash_key_id,
        "http_request_id": caller.request_id,
        "reference": row.reference,
        "regulation": row.regulation,
        "metadata": json.dumps(row.metadata) if row.metadata else "{}",
        "due_at": row.due_at,
        "acknowledge_by": row.acknowledge_by,
        "status": row.status,
        "result_version_id": row.result_version_id,
        "approval": json.dumps(asked(row.reasons)) if row.reasons else None,
        "actor": caller.actor,
        "audited": json.dumps(audited),
    }
    statement = _WITHOUT_ITEMS
    if with_items:
        statement = _WITH_ITEMS
        bound["packed"] = instances.packed
    created_at: datetime | None = (await session.execute(statement, bound)).scalar_one_or_none()
    if created_at is None:
        raise hash_key_changed()
    return created_at
