"""One unlearning run on the digits, and a monitor that keeps its snapshots."""

import copy
from collections.abc import Mapping
from typing import Any

from tests.engine.digits_problem import CPU, QUICK, problem
from worker.engine.contract import Budget, ForgetRequest, Interrupted, Silent
from worker.engine.interference_aware import InterferenceAware

BUDGET = Budget(visits=4)


class Recorder(Silent):
    """Keeps snapshots as a service would (copied), and may interrupt after a number of calls."""

    def __init__(self, interrupt_after: int | None = None, saved: Mapping[str, Any] | None = None) -> None:
        self.calls: list[tuple[int, int, str]] = []
        self.saved = saved
        self.interrupt_after = interrupt_after

    def progress(self, done: int, total: int, note: str) -> None:
        self.calls.append((done, total, note))
        if self.interrupt_after is not None and len(self.calls) >= self.interrupt_after:
            raise Interrupted

    def save(self, snapshot: Mapping[str, Any]) -> None:
        self.saved = copy.deepcopy(snapshot)

    def resume(self) -> Mapping[str, Any] | None:
        return copy.deepcopy(self.saved)


def run(*requests: ForgetRequest, seed: int = 1, method: InterferenceAware = QUICK, **changes: Any) -> Any:
    monitor = changes.pop("monitor", Silent())
    return method(problem(*requests, **changes), BUDGET, seed=seed, device=CPU, monitor=monitor)
