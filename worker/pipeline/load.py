"""Load: the base network, the data, and what is to be forgotten, as one `Problem` for the engine."""

import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.core.database import transaction
from app.core.logging import get_logger
from models import Job, ModelVersion
from worker.engine.checkpoint import CheckpointLayout
from worker.engine.contract import Data, ForgetRequest, ForgetSet, Problem, Refused
from worker.engine.data import split_holdout
from worker.jobs.heartbeat import Order
from worker.jobs.monitor import Stopped
from worker.jobs.running import Running
from worker.pipeline.ladder import RETRAIN, next_rung
from worker.pipeline.registered import (
    Registered,
    StoredCheckpoint,
    load_network,
    open_holdout,
    open_training_data,
    read_registered,
    read_stored_checkpoint,
)
from worker.pipeline.seeds import seed_of

# Row numbers are those of validation: the data's fingerprint is compared before they are used.
_REQUESTED = text("""
SELECT request.id, request.tasks, request.http_request_id, request.guarantee,
       array_agg(instance.position ORDER BY instance.position)
         FILTER (WHERE instance.position IS NOT NULL) AS positions
FROM deletion_requests AS request
LEFT JOIN deletion_request_items AS item ON item.deletion_request_id = request.id
LEFT JOIN dataset_instances AS instance
  ON instance.dataset_id = :dataset_id AND instance.instance_hash = item.instance_hash
WHERE request.job_id = :job_id AND request.status = 'running' AND request.cancel_requested_at IS NULL
GROUP BY request.id
ORDER BY request.id
""")

# The ledger. Without a version, an entry was reopened: the model remembers it again. It is kept out of what
# is retained all the same, unless this very job is to forget it once more.
_FORGOTTEN = text("""
SELECT ledger.deletion_request_id, ledger.task, ledger.version_id IS NULL AS remembered,
       array_agg(instance.position ORDER BY instance.position)
         FILTER (WHERE instance.position IS NOT NULL) AS positions,
       count(*) FILTER (WHERE instance.position IS NULL) AS gone
FROM forgotten_supervision AS ledger
LEFT JOIN dataset_instances AS instance
  ON instance.dataset_id = :dataset_id AND instance.instance_hash = ledger.instance_hash
WHERE ledger.registered_model_id = :model_id
  AND (ledger.version_id IS NOT NULL OR NOT EXISTS (
    SELECT FROM deletion_requests AS request
    JOIN deletion_request_items AS item ON item.deletion_request_id = request.id
    WHERE request.job_id = :job_id AND request.status = 'running' AND request.cancel_requested_at IS NULL
      AND ledger.task = ANY(request.tasks) AND item.instance_hash = ledger.instance_hash
  ))
GROUP BY ledger.deletion_request_id, ledger.task, ledger.version_id IS NULL
ORDER BY ledger.deletion_request_id, ledger.task
""")


# Instances that are gone from the data, and not forgotten yet: deleted at the source before it came to this.
_GONE = text("""
SELECT request.id, count(*) AS instances
FROM deletion_requests AS request
JOIN deletion_request_items AS item ON item.deletion_request_id = request.id
WHERE request.job_id = :job_id AND request.status = 'running' AND request.cancel_requested_at IS NULL
  AND NOT EXISTS (
    SELECT FROM dataset_instances AS instance
    WHERE instance.dataset_id = :dataset_id AND instance.instance_hash = item.instance_hash
  )
  AND EXISTS (
    SELECT FROM former_datasets AS former
    JOIN dataset_instances AS old
      ON old.dataset_id = former.dataset_id AND old.instance_hash = item.instance_hash
    JOIN datasets ON datasets.id = :dataset_id,
      jsonb_array_elements(datasets.targets) WITH ORDINALITY AS target
    WHERE former.registered_model_id = :model_id AND target.value ->> 'name' = ANY(request.tasks)
      AND (old.supervised >> CAST(target.ordinality - 1 AS int)) & 1 = 1
      AND NOT EXISTS (
        SELECT FROM forgotten_supervision AS ledger
        WHERE ledger.registered_model_id = :model_id AND ledger.instance_hash = item.instance_hash
          AND ledger.task = target.value ->> 'name' AND ledger.version_id IS NOT NULL
      )
  )
GROUP BY request.id ORDER BY request.id
""")

# They get a place in a job of that method; the others of this one are carried out without them.
_LEAVE_TO_RETRAINING = text("""
WITH moved AS (
  UPDATE deletion_requests SET status = 'queued', method = :method, job_id = NULL, revision = revision + 1
  WHERE job_id = :job_id AND id = ANY(CAST(:ids AS uuid[])) AND status = 'running'
  RETURNING id, tenant_id
)
INSERT INTO events (tenant_id, subject_id, type, data)
SELECT tenant_id, id, 'method.changed',
  jsonb_build_object('method', CAST(:method AS text), 'reason', 'gone_at_source')
FROM moved
""")

LOGGED = 50  # ids of HTTP requests on one line, so that a request can be followed into the job it joined


@dataclass(frozen=True)
class Loaded:
    """`audit` is the half of the holdout that no method sees; `requests` are those the run is for.

    `gone`: per request, how many of its instances are no longer in the data. `unchecked`: of earlier
    requests, labels whose instances are no longer there. `empirical_steps`: behind the base. `to_retrain`: a
    request asks for retraining though all it names is unlearned already.
    """

    registered: Registered
    base: StoredCheckpoint
    layout: CheckpointLayout
    problem: Problem
    audit: Data
    requests: tuple[uuid.UUID, ...]
    gone: dict[str, int]
    seed: int
    unchecked: tuple[dict[str, Any], ...]
    empirical_steps: int
    to_retrain: bool

    @property
    def something_to_forget(self) -> bool:
        """False when all that the requests name was never learned, or was forgotten by an earlier job."""
        if self.to_retrain or self.gone:
            return True
        forget, present = self.problem.forget, self.problem.train.present
        earlier = ForgetSet(forget.instances, forget.tasks, (), forget.excluded)
        return not torch.equal(earlier.retained(present), forget.retained(present))


def load(running: Running) -> Loaded:
    """Raises `Refused`: data_vanished, data_changed, checkpoint_vanished, …; and `Stopped`, when requests
    were left to retraining: what they name is no longer in the data, and this job unlearns step by step."""
    claim = running.claim
    if claim.registered_model_id is None or claim.base_version_id is None:
        raise Refused("model_not_ready", "The model has no published version to start from.")
    with transaction(running.equipment.sessions) as session:
        registered = read_registered(session, claim.registered_model_id)
        base = read_stored_checkpoint(session, claim.base_version_id)
        asked = _forget_requests(session, registered, claim.job_id)
        requested, excluded = asked.requested, asked.excluded
        steps = session.get_one(ModelVersion, claim.base_version_id).empirical_steps
        gone = _gone(session, registered, claim.job_id)
        tried = list(session.get_one(Job, claim.job_id).rungs)
    rung = next_rung(registered.policy, claim.method or "", steps, tried)
    if gone and rung is not None and rung.method != RETRAIN:
        running.act(lambda session, job: _leave_to_retraining(session, job, list(gone)), "settle")
        raise Stopped(Order.RESTART)
    requests = tuple(dict.fromkeys(uuid.UUID(request.reference) for request in requested))
    running.heartbeat.expect(len(requests))
    train = open_training_data(running, registered)
    # The seed is the model's, not the run's: what was audited once is never calibrated on later.
    calibration, audit = split_holdout(
        open_holdout(running, registered), registered.tasks, seed_of("holdout", registered.model_id)
    )
    network, layout = load_network(running, registered, base)
    return Loaded(
        registered=registered,
        base=base,
        layout=layout,
        problem=Problem(
            network=network,
            build=registered.build,
            tasks=registered.tasks,
            train=train,
            calibration=calibration,
            forget=ForgetSet(len(train), len(registered.tasks), requested, excluded),
            recipe=registered.recipe,
        ),
        audit=audit,
        requests=requests,
        gone=gone,
        seed=seed_of("run", claim.job_id),
        unchecked=asked.unchecked,
        empirical_steps=steps,
        to_retrain=asked.exact and steps > 0,
    )


@dataclass(frozen=True)
class _Asked:
    """What the job's requests name, what earlier ones have had forgotten, and what of that is no longer in
    the data. exact: one of the requests wants retraining."""

    requested: tuple[ForgetRequest, ...]
    excluded: tuple[ForgetRequest, ...]
    unchecked: tuple[dict[str, Any], ...]
    exact: bool


def _forget_requests(session: Session, registered: Registered, job_id: uuid.UUID) -> _Asked:
    column = {task.name: number for number, task in enumerate(registered.tasks)}
    bound = {
        "job_id": job_id,
        "model_id": registered.model_id,
        "dataset_id": registered.dataset_id,
    }
    rows = session.execute(_REQUESTED, {key: bound[key] for key in ("job_id", "dataset_id")}).all()
    requested = tuple(
        ForgetRequest(str(row.id), _rows(row.positions or []), tuple(sorted(column[t] for t in row.tasks)))
        for row in rows
    )
    joined = [row.http_request_id for row in rows if row.http_request_id]
    get_logger(__name__).info("requests_read", requests=len(rows), request_ids=joined[:LOGGED])
    tasks_of: dict[tuple[str, tuple[int, ...], bool], list[int]] = defaultdict(list)
    unchecked = []
    for row in session.execute(_FORGOTTEN, bound):
        reference = str(row.deletion_request_id)
        if row.task in column and row.positions:
            tasks_of[reference, tuple(row.positions), row.remembered].append(column[row.task])
        if row.task in column and row.gone:
            unchecked.append({"reference": reference, "task": row.task, "labels": row.gone})
    excluded = tuple(
        ForgetRequest(reference, _rows(list(positions)), tuple(sorted(tasks)), remembered=remembered)
        for (reference, positions, remembered), tasks in tasks_of.items()
    )
    exact = any(row.guarantee == "exact" for row in rows)
    return _Asked(requested, excluded, tuple(unchecked), exact)


def _gone(session: Session, registered: Registered, job_id: uuid.UUID) -> dict[str, int]:
    bound = {"job_id": job_id, "model_id": registered.model_id, "dataset_id": registered.dataset_id}
    return {str(row.id): int(row.instances) for row in session.execute(_GONE, bound)}


def _leave_to_retraining(session: Session, job: Job, requests: list[str]) -> None:
    session.execute(_LEAVE_TO_RETRAINING, {"job_id": job.id, "ids": requests, "method": RETRAIN})
    get_logger(__name__).info("left_to_retraining", requests=len(requests))


def _rows(positions: list[int]) -> torch.Tensor:
    return torch.tensor(positions, dtype=torch.int64)
