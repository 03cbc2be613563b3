"""One job from claim to settlement: whatever happens in between, its row says so."""

from collections.abc import Callable
from pathlib import Path

import structlog
from obstore.exceptions import BaseError as StorageError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.core import settling
from app.core.backoff import delay_after
from app.core.logging import get_logger
from models import Job, JobKind
from worker.engine.contract import Refused
from worker.engine.data import listening
from worker.equipment import Equipment
from worker.jobs.claim import claim_next, forget_what_was_tried
from worker.jobs.heartbeat import Heartbeat, Order
from worker.jobs.lease import Claim, LeaseLost
from worker.jobs.memory import PeakMemory
from worker.jobs.monitor import JobMonitor, Stopped
from worker.jobs.run_folders import run_folder
from worker.jobs.running import Running
from worker.jobs.snapshots import SnapshotStore
from worker.jobs.watchdog import Watchdog
from worker.pipeline.deletion import delete_supervision
from worker.pipeline.validate_dataset import validate_dataset
from worker.pipeline.validate_model import validate_model

PIPELINES: dict[JobKind, Callable[[Running], None]] = {
    JobKind.VALIDATE_DATASET: validate_dataset,
    JobKind.VALIDATE_MODEL: validate_model,
    JobKind.UNLEARN: delete_supervision,
}

log = get_logger(__name__)


def run_next(equipment: Equipment) -> bool:
    """Claim the most urgent job and run it to its end; False when there was none to claim.

    The folder comes first: a worker whose disk is full or read-only raises here, and spoils no job's attempt.
    """
    cache = Path(equipment.settings.cache_folder)
    with run_folder(cache) as folder:
        claim = claim_next(equipment.sessions, equipment.settings, equipment.name)
        if claim is None:
            return False
        _run_logged(equipment, claim, folder)
    return True


def _run_logged(equipment: Equipment, claim: Claim, folder: Path) -> None:
    bound = {
        "job_id": str(claim.job_id),
        "attempt": claim.attempt,
        "request_id": claim.http_request_id,
    }
    with structlog.contextvars.bound_contextvars(**bound):
        log.info("job_claimed", kind=claim.kind.value, fence=claim.fence)
        _run(equipment, claim, folder)


def _run(equipment: Equipment, claim: Claim, folder: Path) -> None:
    settings = equipment.settings
    memory = PeakMemory()
    watchdog = Watchdog(settings.stall_seconds, equipment.abandon)
    with Heartbeat(equipment.heartbeats, claim, settings.lease_seconds, memory.sample, watchdog) as heartbeat:
        snapshots = SnapshotStore(equipment.sessions, equipment.storage, claim, folder)
        monitor = JobMonitor(heartbeat, snapshots, settings.snapshot_seconds)
        _attempt(Running(equipment, claim, heartbeat, monitor, memory, folder))


def _attempt(running: Running) -> None:
    """Run the pipeline and settle what it did not settle itself."""
    try:
        with listening(running.monitor.check):
            PIPELINES[running.claim.kind](running)
    except LeaseLost:
        log.warning("lease_lost")
    except Stopped as stopped:
        order = stopped.order
        log.info("run_stopped", order=order.value)
        if order is not Order.LOST:
            _settle(running, lambda session, job: stop_as_ordered(session, job, running.claim, order))
    except Refused as refused:
        code, detail = refused.code, str(refused)
        log.info("run_refused", code=code)
        _settle(running, lambda session, job: settling.fail(session, job, running.claim.actor, code, detail))
    except Exception as error:
        log.exception("run_broken")
        fault_of_ours = not isinstance(error, (SQLAlchemyError, StorageError, OSError))
        begin_anew = fault_of_ours and running.monitor.resumed_from is not None
        most = running.equipment.settings.max_attempts
        _settle(running, lambda session, job: try_again(session, job, running.claim, most, begin_anew))
    else:
        log.info("run_ended")


def _settle(running: Running, change: Callable[[Session, Job], None]) -> None:
    try:
        running.act(change, "settle")
    except LeaseLost:
        log.warning("lease_lost")


def stop_as_ordered(session: Session, job: Job, claim: Claim, order: Order) -> None:
    if order is Order.CANCEL:
        settling.cancel(session, job, claim.actor)
        return
    if order is Order.RESTART:
        forget_what_was_tried(job)
    settling.requeue(session, job, claim.actor, outcome="released", reason=order.value, forgive=True)


def try_again(session: Session, job: Job, claim: Claim, max_attempts: int, begin_anew: bool) -> None:
    """After an attempt broke: later, up to the cap. What broke is in the worker's log; clients get one
    sentence.

    `begin_anew`: an attempt that began with a snapshot, got no further and broke by a fault of this program
    may have broken because of it.
    """
    if begin_anew:
        log.warning("snapshot_given_up")
        job.snapshot_artifact_id = None
    if job.attempt >= max_attempts:
        detail = f"The job broke at each of {job.attempt} attempts; the operator finds the reason in the log."
        settling.fail(session, job, claim.actor, "worker_error", detail)
        return
    settling.requeue(
        session,
        job,
        claim.actor,
        outcome="failed",
        reason="worker_error",
        code="worker_error",
        detail=f"Attempt {job.attempt} broke; the operator finds the reason in the log.",
        delay=delay_after(job.attempt),
    )
