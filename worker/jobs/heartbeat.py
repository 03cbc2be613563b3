"""The heartbeat of a run: renews its lease, carries progress out, and brings orders in.

It has a thread and a connection of its own. The engine asks it, between two steps, whether to go on; the
answer is no as soon as the last renewal is older than the lease, whatever became of the thread.
"""

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import bindparam

from app.core.logging import get_logger
from worker.jobs.lease import Claim
from worker.jobs.watchdog import Watchdog

LONGEST_PAUSE = 2.0  # seconds between two beats, however long the lease: orders should not wait for long

_BEAT = text("""
UPDATE jobs
SET lease_expires_at = clock_timestamp() + make_interval(secs => :lease_seconds),
    progress = coalesce(:progress, progress),
    revision = revision + CASE WHEN :progress IS DISTINCT FROM progress AND :progress IS NOT NULL
                          THEN 1 ELSE 0 END
WHERE id = :job_id AND fence = :fence AND status IN ('running', 'cancelling')
  AND lease_expires_at > clock_timestamp()
RETURNING status = 'cancelling' OR cancel_requested_at IS NOT NULL AS cancel,
          drain_requested_at IS NOT NULL AS drain,
          (SELECT count(*) FROM deletion_requests AS request
           WHERE request.job_id = jobs.id AND request.status = 'running'
             AND request.cancel_requested_at IS NULL) AS requests
""").bindparams(bindparam("progress", type_=JSONB(none_as_null=True)))


class Order(StrEnum):
    """Why a run has to stop."""

    LOST = "lost"  # somebody else may own the job
    CANCEL = "cancel"  # the job, or all of its requests
    RESTART = "restart"  # a request was taken back, or the base moved: what was made so far is of no use
    DRAIN = "drain"  # this worker is being shut down; another one goes on


class Heartbeat:
    """A context manager around the run. `sample` is called at every beat, to watch memory; `watchdog` ends a
    run that hangs."""

    def __init__(
        self,
        engine: Engine,
        claim: Claim,
        lease_seconds: float,
        sample: Callable[[], None],
        watchdog: Watchdog,
    ) -> None:
        self._engine = engine
        self._claim = claim
        self._lease_seconds = lease_seconds
        self._sample = sample
        self._watchdog = watchdog
        self._pause = min(lease_seconds / 3, LONGEST_PAUSE)
        self._renewed = time.monotonic()
        self._order: Order | None = None
        self._progress: dict[str, Any] | None = None
        self._requests: int | None = None
        self.about: dict[str, Any] = {}  # goes out with the progress: which rung of how many
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=self._lease_seconds)

    @property
    def order(self) -> Order | None:
        """None means: go on. Asked by the run itself, which shows that it does not hang."""
        self._watchdog.seen()
        return self._present_order()

    def tell(self, done: int, total: int, note: str) -> None:
        """The progress that the next beat carries out."""
        self._progress = {"done": done, "total": total, "note": note, **self.about}

    def expect(self, requests: int) -> None:
        """How many requests the run is for. When one is taken back, the order is to start again."""
        self._requests = requests

    def beat(self) -> None:
        """Renew the lease and read the orders. Raises SQLAlchemy's errors when the database is away."""
        asked = time.monotonic()
        with self._engine.begin() as connection:
            row = connection.execute(
                _BEAT,
                {
                    "job_id": self._claim.job_id,
                    "fence": self._claim.fence,
                    "lease_seconds": self._lease_seconds,
                    "progress": self._progress,
                },
            ).one_or_none()
        if row is None:
            self._order = Order.LOST
            return
        self._renewed = asked
        if row.cancel or (self._requests and not row.requests):
            self._order = Order.CANCEL
        elif self._requests is not None and row.requests < self._requests:
            self._order = Order.RESTART
        elif row.drain:
            self._order = Order.DRAIN

    def _present_order(self) -> Order | None:
        if time.monotonic() - self._renewed > self._lease_seconds:
            return Order.LOST
        return self._order

    def _beat_on(self) -> None:
        log = get_logger(__name__).bind(job_id=str(self._claim.job_id), attempt=self._claim.attempt)
        while not self._ended.wait(self._pause):
            if self._watchdog.look(self._present_order() in (Order.LOST, Order.CANCEL)):
                return
            try:
                self._sample()
                if self._order is not Order.LOST:
                    self.beat()
            except (SQLAlchemyError, OSError) as error:
                log.warning("heartbeat_failed", error=type(error).__name__)
            except Exception:
                # The run notices by the age of the last renewal; nothing else would say why.
                log.exception("heartbeat_broken")
