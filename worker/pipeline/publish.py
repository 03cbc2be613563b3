"""Publish: the one transaction in which a candidate becomes a version.

It holds only if this attempt still holds the job, the base is still the model's head, and every request
that the candidate was made for still wants it. Otherwise nothing of it happens, and the run starts again: a
request that was taken back must leave no trace in the ledger, and a candidate that forgot its instances
too is not what the other requests asked for.
"""

import uuid
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.core import settling
from app.core.audit import event
from app.core.database import transaction
from app.core.logging import get_logger
from app.core.remaining import COUNT_REMAINING
from app.core.storage import Damaged, NotStored, Written
from models import Alias, Artifact, DeletionRequest, Job, ModelVersion, RegisteredModel, time_ordered_id
from models.states import RunStatus, VersionState
from worker.jobs.artifacts import mark_stored
from worker.jobs.heartbeat import Order
from worker.jobs.monitor import Stopped
from worker.jobs.running import Running
from worker.pipeline.notify import tell_of_version
from worker.pipeline.rungs import note_rung

LATEST = "latest"

# One entry per (instance, task) that was supervised, however many requests named it. An entry without a
# version was reopened, and is forgotten again by this one. What is gone from the data was supervised as the
# snapshot before says.
_ENTER_IN_LEDGER = text("""
WITH bits AS (
  SELECT target.value ->> 'name' AS task, CAST(target.ordinality - 1 AS int) AS bit
  FROM datasets, jsonb_array_elements(datasets.targets) WITH ORDINALITY AS target
  WHERE datasets.id = :dataset_id
)
INSERT INTO forgotten_supervision
  (registered_model_id, instance_hash, task, tenant_id, deletion_request_id, version_id, hash_key_id)
SELECT DISTINCT ON (item.instance_hash, bits.task)
  :model_id, item.instance_hash, bits.task, request.tenant_id, request.id, :version_id, request.hash_key_id
FROM deletion_requests AS request
JOIN deletion_request_items AS item ON item.deletion_request_id = request.id
JOIN LATERAL (
  SELECT known.supervised FROM dataset_instances AS known
  WHERE known.instance_hash = item.instance_hash AND (known.dataset_id = :dataset_id OR known.dataset_id IN (
    SELECT former.dataset_id FROM former_datasets AS former WHERE former.registered_model_id = :model_id
  ))
  ORDER BY known.dataset_id <> :dataset_id LIMIT 1
) AS instance ON true
JOIN bits ON bits.task = ANY(request.tasks) AND (instance.supervised >> bits.bit) & 1 = 1
WHERE request.id = ANY(:requests)
ORDER BY item.instance_hash, bits.task, request.id
ON CONFLICT (registered_model_id, instance_hash, task) DO UPDATE
SET version_id = excluded.version_id, deletion_request_id = excluded.deletion_request_id,
    hash_key_id = excluded.hash_key_id, forgotten_at = excluded.forgotten_at
WHERE forgotten_supervision.version_id IS NULL
""")


def publish(running: Running, report: dict[str, Any], artifact_id: uuid.UUID, written: Written) -> None:
    """Make the stored candidate the model's next version. Raises `Stopped` and `LeaseLost`."""

    def change(session: Session, job: Job) -> None:
        mark_stored(session, artifact_id, written)
        session.flush()
        note_rung(session, job, running.claim.actor, report["rungs"][-1])
        publish_candidate(session, job, running.claim.actor, report, artifact_id)

    running.act(change, "publish")
    get_logger(__name__).info("published", sha256=written.sha256.hex())


def publish_approved(running: Running) -> None:
    """Publish the candidate that a person let through, if its bytes are still the ones that were judged: it
    may have lain there for weeks. Raises `Stopped` and `LeaseLost`."""
    if not running.act(lambda _, job: job.candidate_artifact_id is not None) or not _is_intact(running):
        raise Stopped(Order.RESTART)

    def change(session: Session, job: Job) -> None:
        if job.candidate_artifact_id is None or job.report is None:
            raise Stopped(Order.RESTART)
        report = dict(job.report)
        report["gates"] = report["gates"] | {
            "approved_at": job.approved_at.isoformat() if job.approved_at else None,
            "decision": job.decision,
        }
        publish_candidate(session, job, running.claim.actor, report, job.candidate_artifact_id)

    running.act(change, "publish")
    get_logger(__name__).info("published_as_approved")


def _is_intact(running: Running) -> bool:
    """Whether the candidate can be read and has its digest; if not, the job's history says so."""
    with transaction(running.equipment.sessions) as session:
        job = session.get_one(Job, running.claim.job_id)
        candidate = session.get_one(Artifact, job.candidate_artifact_id)
        path, digest = candidate.path, candidate.sha256
    try:
        found = running.equipment.storage.measure(path, running.monitor.check).sha256
    except (NotStored, Damaged):
        found = None
    if found == digest:
        return True
    get_logger(__name__).error("candidate_damaged", found=found.hex() if found else None)
    running.act(
        lambda session, job: session.execute(event(job.tenant_id, job.id, "job.candidate_damaged")) and None
    )
    return False


def publish_candidate(
    session: Session, job: Job, actor: str, report: dict[str, Any], artifact_id: uuid.UUID
) -> None:
    covered = [uuid.UUID(request) for request in report["run"]["requests"]]
    _check_requests(session, job, covered)
    model = session.scalars(
        select(RegisteredModel)
        .where(RegisteredModel.id == job.registered_model_id)
        .with_for_update(key_share=True)
    ).one()
    if model.head_version_id != job.base_version_id:
        raise Stopped(Order.RESTART)
    base = session.get_one(ModelVersion, job.base_version_id, with_for_update=True)
    guarantee = report["run"]["guarantee"]
    version = ModelVersion(
        id=time_ordered_id(),
        tenant_id=job.tenant_id,
        registered_model_id=model.id,
        number=_next_number(session, model.id),
        parent_id=job.base_version_id,
        job_id=job.id,
        artifact_id=artifact_id,
        state=VersionState.PUBLISHED,
        guarantee=guarantee,
        report=report,
        empirical_steps=0 if guarantee == "exact" else base.empirical_steps + 1,
    )
    session.add(version)
    session.flush()
    base.state = VersionState.SUPERSEDED
    move_head(session, model, version.id)
    job.report = report
    settling.succeed(session, job, actor, version_id=version.id, version=version.number)
    bound = {"model_id": model.id, "dataset_id": model.dataset_id}
    session.execute(_ENTER_IN_LEDGER, bound | {"version_id": version.id, "requests": covered})
    session.execute(COUNT_REMAINING, bound)
    tell_of_version(session, actor, version, superseded=base)


def move_head(session: Session, model: RegisteredModel, version_id: uuid.UUID) -> None:
    """The next job starts from this version, and `latest` points at it."""
    model.head_version_id = version_id
    session.flush()
    alias = insert(Alias).values(
        registered_model_id=model.id, name=LATEST, tenant_id=model.tenant_id, version_id=version_id
    )
    session.execute(
        alias.on_conflict_do_update(
            index_elements=["registered_model_id", "name"], set_={"version_id": version_id}
        )
    )


def _check_requests(session: Session, job: Job, covered: list[uuid.UUID]) -> None:
    """From here to the end of the transaction none of them can be taken back any more."""
    wanted = session.scalars(
        select(DeletionRequest.id)
        .where(
            DeletionRequest.job_id == job.id,
            DeletionRequest.status == RunStatus.RUNNING,
            DeletionRequest.cancel_requested_at.is_(None),
        )
        .order_by(DeletionRequest.id)
        .with_for_update(key_share=True)
    )
    if set(wanted) != set(covered):
        raise Stopped(Order.RESTART)


def _next_number(session: Session, model_id: uuid.UUID) -> int:
    """After the newest one ever, not after the head: a model may have been taken back to an older one."""
    newest = session.scalar(
        select(func.max(ModelVersion.number)).where(ModelVersion.registered_model_id == model_id)
    )
    return (newest or 0) + 1
