"""The engine's monitor for a run of the service: progress out, orders in, snapshots now and then."""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from models import Job
from models.states import RunStatus
from worker.engine.contract import Interrupted
from worker.jobs.heartbeat import Heartbeat, Order
from worker.jobs.snapshots import SnapshotStore

# When a worker is shut down, its run waits this long for the engine to offer a snapshot (it does so every
# ten seconds). Orchestrators usually give a process thirty seconds to end.
DRAIN_PATIENCE = 12.0


class Stopped(Interrupted):
    """The run has to stop; `order` says why."""

    def __init__(self, order: Order) -> None:
        super().__init__(order.value)
        self.order = order


def stop_if_cancelled(job: Job) -> None:
    """In the transaction that settles a run: its end may have been asked for since the last heartbeat.
    Raises `Stopped`."""
    if job.status == RunStatus.CANCELLING:
        raise Stopped(Order.CANCEL)


class JobMonitor:
    """`Monitor` as the engine's contract has it."""

    def __init__(self, heartbeat: Heartbeat, snapshots: SnapshotStore, snapshot_seconds: float) -> None:
        self.heartbeat = heartbeat
        self._snapshots = snapshots
        self._seconds = snapshot_seconds
        self._last = time.monotonic()
        self._patience_ends: float | None = None
        self._takes_snapshots = False

    def progress(self, done: int, total: int, note: str) -> None:
        """Raises `Stopped`."""
        self.heartbeat.tell(done, total, note)
        self.check()

    def check(self) -> None:
        """Raises `Stopped` when there is an order to; a drain lets the engine offer a snapshot first."""
        order = self.heartbeat.order
        if order is None:
            return
        if order is Order.DRAIN and self._takes_snapshots:
            self._patience_ends = self._patience_ends or time.monotonic() + DRAIN_PATIENCE
            if time.monotonic() < self._patience_ends:
                return
        raise Stopped(order)

    def save(self, snapshot: Mapping[str, Any]) -> None:
        order = self.heartbeat.order
        if not self._takes_snapshots or order not in (None, Order.DRAIN):
            return
        if order is Order.DRAIN or time.monotonic() - self._last >= self._seconds:
            self._snapshots.save(snapshot, self.check)
            self._last = time.monotonic()
        if order is Order.DRAIN:
            self._takes_snapshots = False  # it has been taken: the next step is the last

    def resume(self) -> Mapping[str, Any] | None:
        return self._snapshots.load(self.check)

    @property
    def resumed_from(self) -> uuid.UUID | None:
        """As `SnapshotStore` has it."""
        return self._snapshots.resumed_from

    @contextmanager
    def taking_snapshots(self) -> Iterator[None]:
        """While the engine runs a method, whose snapshots are worth waiting for."""
        self._takes_snapshots = True
        try:
            yield
        finally:
            self._takes_snapshots = False
