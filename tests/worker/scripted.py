"""A method that does what a test says in the middle of a run."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch

from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem
from worker.engine.methods import METHODS
from worker.jobs.monitor import JobMonitor

SECONDS = 20.0


@dataclass
class Scripted:
    """Runs `script` with the run's monitor, then hands back the network as it was. `problems` is what it
    was given, in order."""

    script: Callable[[JobMonitor], None]
    name: str = "retrain"
    guarantee: Guarantee = "empirical"
    problems: list[Problem] = field(default_factory=list)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        self.problems.append(problem)
        assert isinstance(monitor, JobMonitor)
        self.script(monitor)
        return Outcome(copy.deepcopy(problem.network), self.guarantee, 1, 1.0, 1, 1)


@contextmanager
def playing(monkeypatch: pytest.MonkeyPatch, script: Callable[[JobMonitor], None]) -> Iterator[Scripted]:
    """The method `retrain` is the script."""
    scripted = Scripted(script)
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "retrain", scripted)
        yield scripted


def step_until_stopped(monitor: JobMonitor) -> None:
    """One step after another, until the monitor ends the run."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        monitor.progress(1, 2, "stepping")
        time.sleep(0.01)
    raise TimeoutError("nobody stopped the run")


def obey(monitor: JobMonitor) -> None:
    """Have the orders brought in now, and take one step."""
    monitor.heartbeat.beat()
    monitor.progress(1, 2, "stepping")
