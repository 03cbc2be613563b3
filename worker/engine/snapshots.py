"""When to offer a snapshot to the monitor, and which of an earlier attempt's may be taken up."""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from worker.engine.contract import Budget, Monitor, Problem

SECONDS_BETWEEN = 10.0
FORMAT = 5
"""Raise it when snapshots hold something else than before: those of older workers are then ignored."""


class SnapshotClock:
    """Offers a snapshot at most every `seconds`; states are assembled only when they are offered.

    `run` names the run (method, seed, budget, forget set): snapshots of any other run are ignored.
    """

    def __init__(self, monitor: Monitor, run: str, seconds: float = SECONDS_BETWEEN) -> None:
        self._monitor = monitor
        self._run = run
        self._seconds = seconds
        self._last = time.monotonic()

    def offer(self, state: Callable[[], Mapping[str, Any]]) -> None:
        if time.monotonic() - self._last >= self._seconds:
            self.offer_now(state)

    def offer_now(self, state: Callable[[], Mapping[str, Any]]) -> None:
        self._monitor.save({"run": self._run, **state()})
        self._last = time.monotonic()

    def resume(self) -> Mapping[str, Any] | None:
        """The last snapshot of an earlier attempt at this very run."""
        snapshot = self._monitor.resume()
        return snapshot if snapshot is not None and snapshot.get("run") == self._run else None


def run_name(method: str, problem: Problem, budget: Budget, seed: int) -> str:
    """What makes two attempts the same run: a digest over method, budget, seed and what is forgotten."""
    digest = hashlib.sha256(repr((FORMAT, method, seed, budget, problem.recipe, problem.tasks)).encode())
    for request in (*problem.forget.requests, *problem.forget.excluded):
        again = ("again",) if request.again else ()
        digest.update(repr((request.reference, request.tasks, *again)).encode())
        digest.update(request.rows.to(torch.int64).numpy().tobytes())
    return digest.hexdigest()
