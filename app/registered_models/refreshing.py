"""Moving a model to a newer snapshot of its data, from which rows were deleted at the source.

The ledger goes on applying: instances are known by the same hashes. What waits is worked on with the new
data. Requests that name instances which are gone from it cannot be unlearned step by step any more; they are
retrained, which is exact.
"""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.core.audit import audit_entry, event
from app.core.errors import Conflict, InvalidInput
from app.core.remaining import COUNT_REMAINING
from app.core.rows import AnyRow
from app.datasets import repository as datasets
from app.registered_models import repository
from app.registered_models.schemas import ModelView
from app.registered_models.service import model_not_found, model_view
from models.states import DatasetStatus, ModelStatus

_LOCK_JOBS = text("""
SELECT id, status FROM jobs WHERE registered_model_id = :model_id
  AND status NOT IN ('succeeded', 'failed', 'cancelled')
ORDER BY id FOR UPDATE
""")
_LOCK_REQUESTS = text("""
SELECT id FROM deletion_requests WHERE registered_model_id = :model_id
  AND status NOT IN ('succeeded', 'failed', 'cancelled')
ORDER BY id FOR NO KEY UPDATE
""")
_NEWER_THAN = text("""
WITH RECURSIVE older AS (
  SELECT id, refreshes_id FROM datasets WHERE id = :newer
  UNION
  SELECT d.id, d.refreshes_id FROM datasets d JOIN older ON d.id = older.refreshes_id
)
SELECT EXISTS (SELECT FROM older WHERE id = :present AND id <> :newer)
""")
_PRESENT = text("""
SELECT m.dataset_id, d.hash_key_id FROM registered_models m JOIN datasets d ON d.id = m.dataset_id
WHERE m.id = :model_id
""")
_LEAVE = text("""
INSERT INTO former_datasets (registered_model_id, dataset_id, tenant_id)
SELECT id, dataset_id, tenant_id FROM registered_models WHERE id = :model_id ON CONFLICT DO NOTHING
""")
_MOVE = text("UPDATE registered_models SET dataset_id = :newer WHERE id = :model_id")
# What an earlier attempt made of the old data is of no use any more, but for what a person has approved.
_BEGIN_ANEW = text("""
UPDATE jobs SET snapshot_artifact_id = NULL,
  rungs = CASE WHEN approved_at IS NULL THEN '[]' ELSE rungs END,
  report = CASE WHEN approved_at IS NOT NULL THEN report END,
  candidate_artifact_id = CASE WHEN approved_at IS NOT NULL THEN candidate_artifact_id END
WHERE registered_model_id = :model_id AND status = 'queued'
""")
_TAKE_ALONG = text("""
UPDATE deletion_requests SET dataset_id = :newer WHERE registered_model_id = :model_id
  AND status NOT IN ('succeeded', 'failed', 'cancelled')
""")
# Without a job: the relay gives them a place in one of that method.
_RETRAIN = text("""
WITH moved AS (
  UPDATE deletion_requests r SET method = 'retrain', job_id = NULL, revision = revision + 1
  WHERE r.registered_model_id = :model_id AND r.status IN ('queued', 'awaiting_approval')
    AND r.method <> 'retrain' AND EXISTS (
    SELECT FROM deletion_request_items item WHERE item.deletion_request_id = r.id AND NOT EXISTS (
      SELECT FROM dataset_instances d WHERE d.dataset_id = :newer AND d.instance_hash = item.instance_hash
    )
  )
  RETURNING r.id, r.tenant_id
)
INSERT INTO events (tenant_id, subject_id, type, data)
SELECT tenant_id, id, 'method.changed', jsonb_build_object('method', 'retrain', 'reason', 'gone_at_source')
FROM moved RETURNING subject_id
""")


async def move(session: AsyncSession, caller: Caller, model: str, dataset: str) -> ModelView:
    """Raises `NotFound`, `InvalidInput` (dataset_unknown, dataset_not_a_snapshot) and `Conflict`
    (model_not_ready, dataset_not_ready, job_active, hash_key_changed)."""
    model_id = await repository.find_id(session, caller.tenant_id, model)
    if model_id is None:
        raise model_not_found()
    newer = await _snapshot(session, caller, dataset)
    jobs = (await session.execute(_LOCK_JOBS, {"model_id": model_id})).all()
    await session.execute(_LOCK_REQUESTS, {"model_id": model_id})
    row = await repository.lock_or_read(session, caller.tenant_id, str(model_id), lock=True)
    if row is None or row.status != ModelStatus.READY:
        raise Conflict("The model is not ready: it has nothing to be moved.", code="model_not_ready")
    active = [job for job in jobs if job.status != "queued"]
    if active:
        raise Conflict(
            "A job is working on this model with the data as it was; wait for it, or cancel it first.",
            code="job_active",
            job=str(active[0].id),
        )
    bound = {"model_id": model_id, "newer": newer.id}
    present = (await session.execute(_PRESENT, {"model_id": model_id})).one()
    if present.dataset_id != newer.id:
        await _check(session, present, newer)
        await session.execute(_LEAVE, {"model_id": model_id})
        for statement in (_MOVE, _TAKE_ALONG):
            await session.execute(statement, bound)
        await session.execute(_BEGIN_ANEW, {"model_id": model_id})
        retrained = list((await session.execute(_RETRAIN, bound)).scalars())
        await session.execute(COUNT_REMAINING, {"model_id": model_id, "dataset_id": newer.id})
        await _note(session, caller, model_id, present.dataset_id, newer, retrained)
    return model_view(await repository.model(session, caller.tenant_id, model_id))


async def _snapshot(session: AsyncSession, caller: Caller, dataset: str) -> AnyRow:
    newer = await datasets.find(session, caller.tenant_id, dataset)
    if newer is None:
        raise InvalidInput("There is no such data set; register it first.", code="dataset_unknown")
    if newer.status != DatasetStatus.READY or newer.holdout_url is None:
        raise Conflict(
            f"The data set is {newer.status}; a model can be moved to it once it is ready, with a holdout.",
            code="dataset_not_ready",
        )
    return newer


async def _check(session: AsyncSession, present: AnyRow, newer: AnyRow) -> None:
    bound = {"newer": newer.id, "present": present.dataset_id}
    if not (await session.execute(_NEWER_THAN, bound)).scalar_one():
        raise InvalidInput(
            f"{newer.name} is no newer snapshot of the model's data: register it with `refreshes`.",
            code="dataset_not_a_snapshot",
        )
    if present.hash_key_id != newer.hash_key_id:
        raise Conflict(
            "The snapshot was indexed under another hash key than what it refreshes: the operator has to "
            "run python -m app.admin rotate-hash-key first.",
            code="hash_key_changed",
        )


async def _note(
    session: AsyncSession,
    caller: Caller,
    model_id: uuid.UUID,
    before: uuid.UUID,
    newer: AnyRow,
    retrained: list[uuid.UUID],
) -> None:
    told = {"before": str(before), "dataset": str(newer.id), "fingerprint": newer.fingerprint}
    told |= {"retrained": [str(each) for each in retrained]}
    await session.execute(event(caller.tenant_id, model_id, "model.refreshed", by=caller.actor, **told))
    await session.execute(
        audit_entry(caller.tenant_id, caller.actor, "model.refresh", model_id, caller.request_id, **told)
    )
