"""Choosing the next job and making it this worker's.

What a wake-up names does not matter: the database chooses. A job can be claimed when it is queued, its
back-off is over, and nothing holds up its registered model's line: no run on the model, no candidate that
waits for a person, no approved candidate that waits to be published (it goes first: a version published in
between would take its base away).
"""

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import func, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from app.core import settling
from app.core.audit import audit_entry, event
from app.core.database import transaction
from app.core.settings import Settings
from models import Attempt, Job, JobKind, Phase, RegisteredModel, Tenant
from models.states import RunStatus
from worker.jobs.lease import Claim, lease_end

# What is due soon overtakes, by the day. Then what was begun goes on before anything new is begun: it had its
# turn, and whoever it was taken from is back after one lease. Everything else is done in turns, whoever was
# served longest ago first, so that no tenant starves another by naming a regulation; within a turn due dates
# count again. What has no due date becomes urgent like what is due a month after it came. NO KEY UPDATE: rows
# that merely refer to the job do not stand in the way.
_MOST_URGENT = """
SELECT job.id
FROM jobs AS job JOIN tenants AS tenant ON tenant.id = job.tenant_id
WHERE job.status = 'queued' AND job.not_before <= now()
  AND NOT EXISTS (
    SELECT FROM jobs AS other
    WHERE other.registered_model_id = job.registered_model_id AND other.id <> job.id
      AND (other.status IN ('running', 'cancelling', 'needs_review')
           OR (other.status = 'queued' AND other.approved_at IS NOT NULL AND job.approved_at IS NULL))
  )
ORDER BY
  CASE WHEN coalesce(job.due_at, job.created_at + interval '30 days') < now() + make_interval(days => :urgent)
       THEN date_trunc('day', coalesce(job.due_at, job.created_at + interval '30 days')) END NULLS LAST,
  job.fence = 0,
  tenant.last_claimed_at NULLS FIRST,
  date_trunc('day', job.due_at) NULLS LAST, job.created_at, job.id
LIMIT 1
FOR NO KEY UPDATE OF job
"""

# How long to stand in line for a job whose row somebody else keeps locking.
LOCK_WAIT_MILLISECONDS = 2000
TRIES = 20


class _TryAgain(Exception):
    """Another worker was faster, or the job could not be run at all; there may be others."""


def claim_next(sessions: sessionmaker[Session], settings: Settings, worker: str) -> Claim | None:
    """The most urgent job that can be claimed, now `running` and leased; None when there is none."""
    for _ in range(TRIES):
        try:
            with transaction(sessions, "claim") as session:
                job = _lock_most_urgent(session, settings.urgent_days)
                if job is None:
                    return None
                if job.attempt < settings.max_attempts:
                    return _take(session, job, settings, worker)
                _give_up(session, job, f"worker:{worker}")
        except _TryAgain:
            continue
        except IntegrityError as error:
            if "uq_jobs_one_active_per_model" not in str(error.orig):
                raise
        except DBAPIError as error:
            if not isinstance(error.orig, DeadlockDetected):
                raise
    return None


def _lock_most_urgent(session: Session, urgent_days: int) -> Job | None:
    """First without waiting for anybody. If that comes to nothing though there is a candidate, once more
    in line: a stream of requests that each lock the open job must not keep it from being claimed."""
    urgent = {"urgent": urgent_days}
    job_id = session.scalar(text(_MOST_URGENT + " SKIP LOCKED"), urgent)
    if job_id is None and session.scalar(text(_MOST_URGENT.partition("FOR NO KEY")[0]), urgent) is not None:
        session.execute(text(f"SET LOCAL lock_timeout = {LOCK_WAIT_MILLISECONDS}"))
        try:
            job_id = session.scalar(text(_MOST_URGENT), urgent)
        except DBAPIError as error:
            if isinstance(error.orig, LockNotAvailable):
                raise _TryAgain from error
            raise
        if job_id is None:  # it was claimed while we waited
            raise _TryAgain
    return None if job_id is None else session.get_one(Job, job_id)


def _take(session: Session, job: Job, settings: Settings, worker: str) -> Claim:
    _choose_base(session, job)
    job.status = RunStatus.RUNNING
    job.phase = Phase.LOADING
    job.accepts_requests = False
    job.fence += 1
    job.attempt += 1
    job.lease_expires_at = lease_end(settings.lease_seconds)
    job.lease_holder = worker
    job.drain_requested_at = None
    job.progress = None
    job.started_at = job.started_at or func.now()
    job.revision += 1
    session.flush()
    actor = f"worker:{worker}"
    settling.move_requests(session, job, actor, ("queued",), RunStatus.RUNNING)
    session.add(Attempt(tenant_id=job.tenant_id, job_id=job.id, fence=job.fence, worker=worker))
    session.get_one(Tenant, job.tenant_id).last_claimed_at = func.now()
    session.execute(event(job.tenant_id, job.id, "job.running", attempt=job.attempt, fence=job.fence))
    session.execute(audit_entry(job.tenant_id, actor, "job.running", job.id, attempt=job.attempt))
    return Claim(
        job_id=job.id,
        tenant_id=job.tenant_id,
        kind=JobKind(job.kind),
        fence=job.fence,
        attempt=job.attempt,
        worker=worker,
        dataset_id=job.dataset_id,
        registered_model_id=job.registered_model_id,
        method=job.method,
        base_version_id=job.base_version_id,
        approved=job.approved_at is not None and job.candidate_artifact_id is not None,
        http_request_id=job.http_request_id,
    )


def _choose_base(session: Session, job: Job) -> None:
    """The head as it is now. What an earlier attempt made from another base is of no use any more."""
    if job.registered_model_id is None:
        return
    head = session.get_one(RegisteredModel, job.registered_model_id).head_version_id
    if job.base_version_id != head:
        forget_what_was_tried(job)
        job.base_version_id = head


def forget_what_was_tried(job: Job) -> None:
    """It was made from another base, or for requests of which some were taken back: no use any more. The
    attempts go on telling of it."""
    job.snapshot_artifact_id = None
    job.candidate_artifact_id = None
    job.approved_at = None
    job.approved_by = None
    job.decision = None
    job.report = None
    job.rungs = []


def _give_up(session: Session, job: Job, actor: str) -> None:
    code = job.error_code or "worker_error"
    detail = job.error_detail or "Every attempt at the job ended without a result."
    settling.fail(session, job, actor, code, detail)
