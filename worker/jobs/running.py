"""One attempt at a job while it runs, and the transactions that act for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from psycopg.errors import OperationalError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.core.audit import event
from app.core.database import transaction
from app.core.logging import get_logger
from models import Job, Phase
from worker.equipment import Equipment
from worker.jobs.heartbeat import Heartbeat, Order
from worker.jobs.lease import Claim, held_job
from worker.jobs.memory import PeakMemory
from worker.jobs.monitor import JobMonitor

Result = TypeVar("Result")
TRIES = 8


@dataclass(frozen=True)
class Running:
    """`folder` is the run's own and goes with it. `seconds` is filled in phase by phase."""

    equipment: Equipment
    claim: Claim
    heartbeat: Heartbeat
    monitor: JobMonitor
    memory: PeakMemory
    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def act(self, change: Callable[[Session, Job], Result], unit: str | None = None) -> Result:
        """One transaction for the attempt; `unit` names its failpoints. It is begun again when the database
        was away for a moment, for as long as the lease may still be ours. Raises `LeaseLost`.

        A commit whose answer got lost is not repeated: the job is no longer held then, or no longer in
        the state from which `change` started.
        """
        for number in range(TRIES):
            try:
                with transaction(self.equipment.sessions, unit) as session:
                    return change(session, held_job(session, self.claim))
            except DBAPIError as error:
                transient = isinstance(error.orig, OperationalError)
                if not transient or number + 1 == TRIES or self.heartbeat.order is Order.LOST:
                    raise
                get_logger(__name__).warning("database_away", error=type(error.orig).__name__)
                time.sleep(min(2.0, 0.1 * 2**number))
        raise AssertionError("unreachable: the last try returns or raises")

    def enter(self, phase: Phase) -> None:
        """Tell the world which phase the run is in. Raises `Stopped` and `LeaseLost`."""
        self.monitor.check()

        def change(session: Session, job: Job) -> None:
            if job.phase != phase:
                job.phase = phase
                job.revision += 1
            session.execute(event(job.tenant_id, job.id, "job.phase", phase=phase.value))

        self.act(change, "phase")
        get_logger(__name__).info("phase", phase=phase.value)
