"""How a run ends or goes back to the queue: the rows that change together, whoever changes them.

The worker settles the runs that it holds the lease of, the relay those whose lease ran out. In every
function here the caller holds the row lock of `job`, which is `running` or `cancelling` (or, to be failed,
`needs_review`). Locks are taken in the order job, requests, registered model.
"""

import json
import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import exists, func, select, text, update
from sqlalchemy.orm import Session

from app.core.audit import audit_entry, event
from app.core.outbox import wake, wake_next_of_model
from models import Attempt, Dataset, DeletionRequest, Job, JobKind, ModelVersion, RegisteredModel
from models.states import DatasetStatus, ModelStatus, RunStatus, VersionState

# Every request of the job in one of the states `before` moves to `after`, with its event, and with its row
# in the audit log when that is the end of it.
_MOVE_REQUESTS = """
WITH moved AS (
  UPDATE deletion_requests
  SET status = :after, revision = revision + 1,
      finished_at = CASE WHEN :settled THEN now() END,
      journaled_at = CASE WHEN :after <> 'cancelled' THEN journaled_at END,
      result_version_id = :version_id, error_code = :code, error_detail = :detail
  WHERE job_id = :job_id AND status = ANY(:before)
    AND (NOT :only_withdrawn OR cancel_requested_at IS NOT NULL OR status = 'cancelling')
  RETURNING id, tenant_id
), audited AS (
  INSERT INTO audit_log (tenant_id, actor, action, subject_id, data)
  SELECT tenant_id, :actor, 'deletion_request.' || :after, id, CAST(:data AS jsonb) FROM moved WHERE :settled
)
INSERT INTO events (tenant_id, subject_id, type, data)
SELECT tenant_id, id, 'request.' || :after, CAST(:data AS jsonb) FROM moved ORDER BY id
"""

SETTLED = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED)


def succeed(session: Session, job: Job, actor: str, *, version_id: uuid.UUID | None, **report: Any) -> None:
    """The job is done; its requests are, by `version_id`, but for those that were taken back before the run
    had read them."""
    _let_withdrawn_go(session, job, actor)
    move_requests(session, job, actor, ("running",), RunStatus.SUCCEEDED, version_id=version_id)
    _finish(session, job, actor, RunStatus.SUCCEEDED, "succeeded", **report)


def fail(session: Session, job: Job, actor: str, code: str, detail: str, *, outcome: str = "failed") -> None:
    """The job will not be tried again. The registered model's versions stay as they are."""
    _let_withdrawn_go(session, job, actor)
    unsettled = ("queued", "running", "cancelling", "needs_review")
    move_requests(session, job, actor, unsettled, RunStatus.FAILED, code=code, detail=detail)
    job.error_code, job.error_detail = code, detail
    _reject_subject(session, job, code, detail)
    _finish(session, job, actor, RunStatus.FAILED, outcome, code=code)


def cancel(session: Session, job: Job, actor: str, *, outcome: str = "cancelled") -> None:
    """Somebody asked for the job, or for all of its requests, to be cancelled."""
    if job.status == RunStatus.RUNNING:  # cancelling comes between the two in the transition table
        job.status = RunStatus.CANCELLING
        session.flush()
    move_requests(session, job, actor, ("running", "cancelling"), RunStatus.CANCELLED)
    _reject_subject(session, job, "cancelled", "The validation was cancelled; register it again.")
    _finish(session, job, actor, RunStatus.CANCELLED, outcome)


def requeue(
    session: Session,
    job: Job,
    actor: str,
    *,
    outcome: str,
    reason: str,
    code: str | None = None,
    detail: str | None = None,
    delay: timedelta = timedelta(0),
    forgive: bool = False,
) -> None:
    """The job waits for another attempt, after `delay`; unless it was to be cancelled, or is for nobody any
    more: requests that were taken back meanwhile are cancelled. `forgive`: this attempt does not count."""
    _let_withdrawn_go(session, job, actor)
    if _nothing_left(session, job):
        cancel(session, job, actor, outcome=outcome)
        return
    move_requests(session, job, actor, ("running",), RunStatus.QUEUED)
    _end_attempt(session, job, outcome, code, detail)
    job.status = RunStatus.QUEUED
    job.not_before = func.now() + delay
    job.error_code, job.error_detail = code, detail
    if forgive:
        job.attempt = max(0, job.attempt - 1)
    _let_go(job)
    session.execute(event(job.tenant_id, job.id, "job.queued", reason=reason))
    session.flush()
    if not delay:  # otherwise the relay's sweep finds the job when its time has come
        session.execute(wake(job.tenant_id, job.id))


def hold_for_review(
    session: Session, job: Job, actor: str, candidate_id: uuid.UUID, detail: str, report: dict[str, Any]
) -> None:
    """The candidate missed a gate and waits for a person; the job goes on holding up its line. Attempts are
    counted anew for what comes after the person's word."""
    _let_withdrawn_go(session, job, actor)
    move_requests(session, job, actor, ("running",), RunStatus.NEEDS_REVIEW)
    _end_attempt(session, job, "needs_review", "gate_missed", detail)
    job.status = RunStatus.NEEDS_REVIEW
    job.attempt = 0
    job.candidate_artifact_id = candidate_id
    job.report = report
    job.error_code, job.error_detail = "gate_missed", detail
    _let_go(job)
    session.execute(event(job.tenant_id, job.id, "job.needs_review", detail=detail))
    session.execute(audit_entry(job.tenant_id, actor, "job.needs_review", job.id))


def attempt_of(session: Session, job: Job) -> Attempt:
    """The record of the job's present attempt."""
    return session.scalars(select(Attempt).where(Attempt.job_id == job.id, Attempt.fence == job.fence)).one()


def move_requests(
    session: Session,
    job: Job,
    actor: str,
    before: tuple[str, ...],
    after: RunStatus,
    *,
    version_id: uuid.UUID | None = None,
    code: str | None = None,
    detail: str | None = None,
    only_withdrawn: bool = False,
) -> int:
    """Move the job's requests on, with their history; how many moved."""
    data = {"job": str(job.id)}
    data |= {"version": str(version_id)} if version_id else {}
    data |= {"code": code} if code else {}
    session.flush()
    moved = session.execute(
        text(_MOVE_REQUESTS),
        {
            "job_id": job.id,
            "actor": actor,
            "before": list(before),
            "after": after.value,
            "settled": after in SETTLED,
            "version_id": version_id,
            "code": code,
            "detail": detail,
            "data": json.dumps(data),
            "only_withdrawn": only_withdrawn,
        },
    )
    return int(moved.rowcount)  # type: ignore[attr-defined]


def _let_withdrawn_go(session: Session, job: Job, actor: str) -> None:
    """Requests that were taken back are cancelled, whatever becomes of their job."""
    move_requests(session, job, actor, ("running", "cancelling"), RunStatus.CANCELLED, only_withdrawn=True)


def _nothing_left(session: Session, job: Job) -> bool:
    if job.status == RunStatus.CANCELLING or job.cancel_requested_at is not None:
        return True
    running = select(DeletionRequest.id).where(
        DeletionRequest.job_id == job.id, DeletionRequest.status == RunStatus.RUNNING
    )
    return job.kind == JobKind.UNLEARN and session.scalar(select(~exists(running))) is True


def _finish(session: Session, job: Job, actor: str, status: RunStatus, outcome: str, **told: Any) -> None:
    code, detail = (job.error_code, job.error_detail) if status == RunStatus.FAILED else (None, None)
    _end_attempt(session, job, outcome, code, detail)
    job.status = status
    job.error_code, job.error_detail = code, detail
    job.finished_at = func.now()
    _let_go(job)
    session.flush()
    session.execute(event(job.tenant_id, job.id, f"job.{status}", **told))
    session.execute(audit_entry(job.tenant_id, actor, f"job.{status}", job.id, **told))
    if job.registered_model_id is not None:
        session.execute(wake_next_of_model(job.registered_model_id))


def _end_attempt(session: Session, job: Job, outcome: str, code: str | None, detail: str | None) -> None:
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.fence == job.fence, Attempt.finished_at.is_(None))
        .values(finished_at=func.now(), outcome=outcome, error_code=code, error_detail=detail)
    )


def _let_go(job: Job) -> None:
    job.lease_expires_at = None
    job.lease_holder = None
    job.drain_requested_at = None
    job.phase = None
    job.accepts_requests = False
    job.revision += 1


def _reject_subject(session: Session, job: Job, code: str, detail: str) -> None:
    """What a failed validation was about cannot be used: the data set, or the model with its version 1."""
    if job.kind == JobKind.VALIDATE_DATASET:
        dataset = session.get_one(Dataset, job.dataset_id, with_for_update=True)
        if dataset.status == DatasetStatus.VALIDATING:
            dataset.status = DatasetStatus.REJECTED
            dataset.error_code, dataset.error_detail = code, detail
            session.execute(event(job.tenant_id, dataset.id, "dataset.rejected", code=code))
    if job.kind == JobKind.VALIDATE_MODEL:
        model = session.get_one(RegisteredModel, job.registered_model_id, with_for_update=True)
        if model.status == ModelStatus.VALIDATING:
            model.status = ModelStatus.REJECTED
            model.error_code, model.error_detail = code, detail
            session.execute(event(job.tenant_id, model.id, "model.rejected", code=code))
        version = session.scalar(
            select(ModelVersion).where(
                ModelVersion.registered_model_id == job.registered_model_id, ModelVersion.number == 1
            )
        )
        if version is not None and version.state == VersionState.PENDING:
            version.state = VersionState.REJECTED
            session.execute(event(job.tenant_id, version.id, "version.rejected", code=code))
