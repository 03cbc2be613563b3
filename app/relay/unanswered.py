"""Orders that nobody carried out, and decisions that nobody made: what becomes of a job without its worker,
or without the person it waits for."""

from sqlalchemy import exists, func, text
from sqlalchemy.orm import Session, sessionmaker

from app.core import settling
from app.core.database import transaction
from app.core.logging import get_logger
from app.relay.locking import lock_one_job
from models import Attempt, DeletionRequest, Job
from models.states import RunStatus

ACTOR = "relay"
SECONDS_TO_OBEY = 7.0
"""From an order to cancel until it is carried out without the worker: with a sweep, within ten seconds."""

# Since it began to wait the last time (a retry of what was rejected begins anew), and never before it is due.
_EXPIRE_APPROVALS = text("""
WITH moved AS (
  UPDATE deletion_requests r SET status = 'failed', error_code = 'approval_expired', error_detail = :detail,
    finished_at = now(), revision = r.revision + 1
  WHERE r.status = 'awaiting_approval' AND r.created_at < now() - make_interval(secs => :seconds)
    AND coalesce(r.due_at < now(), true)
    AND NOT EXISTS (
      SELECT FROM events e WHERE e.subject_id = r.id AND e.type = 'request.awaiting_approval'
        AND e.created_at >= now() - make_interval(secs => :seconds)
    )
  RETURNING r.id, r.tenant_id
), audited AS (
  INSERT INTO audit_log (tenant_id, actor, action, subject_id, data)
  SELECT tenant_id, 'relay', 'deletion_request.failed', id, '{"code": "approval_expired"}' FROM moved
)
INSERT INTO events (tenant_id, subject_id, type, data)
SELECT tenant_id, id, 'request.failed', '{"code": "approval_expired"}' FROM moved ORDER BY id
RETURNING subject_id
""")


def cancel_unheard(sessions: sessionmaker[Session]) -> int:
    """Cancel what was to be cancelled and is not yet: the worker hangs, is cut off, or dead. How many jobs
    were touched. One transaction each."""
    touched = 0
    while _cancel_one(sessions) or _take_back_one(sessions):
        touched += 1
    return touched


def expire_reviews(sessions: sessionmaker[Session], review_days: float) -> int:
    """Fail the jobs whose candidate nobody decided on: they hold up their models' lines."""
    expired = 0
    while _expire_one(sessions, review_days):
        expired += 1
    return expired


def expire_approvals(sessions: sessionmaker[Session], approval_days: float) -> int:
    """Fail the requests that waited for a person's word which nobody gave, until their due date at least,
    which is warned of; how many that were."""
    detail = (
        f"It would take more than may go without a person's word, and nobody approved or rejected it within "
        f"{approval_days:g} days or until its due date: nothing was forgotten. Retry it to have it looked "
        "at again."
    )
    with transaction(sessions) as session:
        bound = {"detail": detail, "seconds": approval_days * 86_400}
        expired = session.scalars(_EXPIRE_APPROVALS, bound).all()
    for request in expired:
        get_logger(__name__).warning("approval_expired", deletion_request_id=str(request))
    return len(expired)


def _cancel_one(sessions: sessionmaker[Session]) -> bool:
    """From here on the worker has lost the job: its fence no longer finds it active."""
    overdue = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, SECONDS_TO_OBEY)
    with transaction(sessions) as session:
        job = lock_one_job(
            session,
            Job.status == RunStatus.CANCELLING,
            Job.cancel_requested_at < overdue,
            first=Job.cancel_requested_at,
        )
        if job is None:
            return False
        get_logger(__name__).warning("cancelled_unheard", job_id=str(job.id), holder=job.lease_holder)
        settling.cancel(session, job, ACTOR)
        return True


def _take_back_one(sessions: sessionmaker[Session]) -> bool:
    """Requests of a job whose others go on. The run cannot publish what it made for all of them."""
    overdue = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, SECONDS_TO_OBEY)
    withdrawn = exists().where(
        DeletionRequest.job_id == Job.id,
        DeletionRequest.status == RunStatus.CANCELLING,
        DeletionRequest.cancel_requested_at < overdue,
    )
    with transaction(sessions) as session:
        job = lock_one_job(session, Job.status != RunStatus.CANCELLING, withdrawn)
        if job is None:
            return False
        get_logger(__name__).warning("taken_back_unheard", job_id=str(job.id), holder=job.lease_holder)
        settling.move_requests(session, job, ACTOR, (RunStatus.CANCELLING,), RunStatus.CANCELLED)
        return True


def _expire_one(sessions: sessionmaker[Session], review_days: float) -> bool:
    since = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, review_days * 86_400)
    held = exists().where(Attempt.job_id == Job.id, Attempt.fence == Job.fence, Attempt.finished_at < since)
    with transaction(sessions) as session:
        job = lock_one_job(session, Job.status == RunStatus.NEEDS_REVIEW, held)
        if job is None:
            return False
        get_logger(__name__).warning("review_expired", job_id=str(job.id))
        detail = (
            f"The candidate missed a gate ({job.error_detail}), and nobody approved or rejected it within "
            f"{review_days:g} days. Retry the job to have a new one made."
        )
        settling.fail(session, job, ACTOR, "review_expired", detail)
        return True
