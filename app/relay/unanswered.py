"""Orders that nobody carried out, and decisions that nobody made: what becomes of a job without its worker,
or without the person it waits for."""

from sqlalchemy import exists, func
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
