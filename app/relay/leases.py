"""Jobs whose worker fell silent: queued again, cancelled if that was asked for, or failed for good."""

from datetime import timedelta

from sqlalchemy import func
from sqlalchemy.orm import Session, sessionmaker

from app.core import settling
from app.core.backoff import delay_after
from app.core.database import transaction
from app.core.logging import get_logger
from app.relay.locking import lock_one_job
from models import Job
from models.states import ACTIVE, RunStatus

ACTOR = "relay"
OUTCOME = "lease_lost"


def reclaim_expired(sessions: sessionmaker[Session], max_attempts: int) -> int:
    """How many leases had run out. One transaction each."""
    reclaimed = 0
    while _reclaim_one(sessions, max_attempts):
        reclaimed += 1
    return reclaimed


def _reclaim_one(sessions: sessionmaker[Session], max_attempts: int) -> bool:
    with transaction(sessions, "reclaim") as session:
        job = lock_one_job(
            session, Job.status.in_(ACTIVE), Job.lease_expires_at < func.now(), first=Job.lease_expires_at
        )
        if job is None:
            return False
        get_logger(__name__).warning("lease_expired", job_id=str(job.id), holder=job.lease_holder)
        if job.status == RunStatus.RUNNING and job.attempt >= max_attempts:
            settling.fail(
                session,
                job,
                ACTOR,
                "worker_lost",
                f"The worker fell silent in attempt {job.attempt}, the last one: it was killed, or ran out "
                "of memory.",
                outcome=OUTCOME,
            )
            return True
        settling.requeue(
            session,
            job,
            ACTOR,
            outcome=OUTCOME,
            reason=OUTCOME,
            code="worker_lost",
            detail=f"The worker fell silent in attempt {job.attempt}.",
            # A lost worker is replaced at once; what loses one worker after the other has to wait.
            delay=delay_after(job.attempt - 1) if job.attempt > 1 else timedelta(0),
        )
        return True
