"""Unlearn: hand the problem to the method that the job names."""

import torch

from worker.engine.contract import Budget, Outcome, Refused
from worker.engine.methods import METHODS
from worker.jobs.running import Running
from worker.pipeline.load import Loaded


def unlearn(running: Running, loaded: Loaded, device: torch.device) -> Outcome:
    """Raises `Refused`: method_unknown, and what the method refuses. Raises `Stopped`."""
    name = running.claim.method or ""
    if name not in METHODS:
        raise Refused(
            "method_unknown", f"There is no method {name!r}; the methods are {', '.join(sorted(METHODS))}."
        )
    running.memory.watch(device)
    with running.monitor.taking_snapshots():
        return METHODS[name](
            loaded.problem, budget_of(loaded), seed=loaded.seed, device=device, monitor=running.monitor
        )


def budget_of(loaded: Loaded) -> Budget:
    """What the model's policy allows."""
    return Budget(visits=int(loaded.registered.policy.get("visits", Budget().visits)))
