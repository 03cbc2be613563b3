"""Retraining from scratch without the supervision: the exact method, and the yardstick of all others.

That what forgets is to be judged by what never learned: Cao & Yang 2015, "Towards Making Systems Forget with
Machine Unlearning" (IEEE S&P); that this is a distribution, of networks trained without the data: Bourtoule
et al. 2021, "Machine Unlearning" (IEEE S&P, arXiv 1912.03817).
"""

from dataclasses import dataclass

import torch

from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem
from worker.engine.descent import Restart
from worker.engine.parameters import keep_frozen
from worker.engine.randomness import derived_generator
from worker.engine.snapshots import SECONDS_BETWEEN, SnapshotClock, run_name
from worker.engine.training import train


@dataclass(frozen=True)
class Retrain:
    """Initialise anew from the seed, then train by the recipe on what is retained. The budget is not used."""

    name: str = "retrain"
    guarantee: Guarantee = "exact"
    snapshot_seconds: float = SECONDS_BETWEEN

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, loss_not_finite."""
        clock = SnapshotClock(monitor, run_name(self.name, problem, Budget(), seed), self.snapshot_seconds)
        network = problem.build(derived_generator(seed, "retrain"))
        keep_frozen(network, problem.network)
        network = network.to(device)
        retained = problem.forget.retained(problem.train.present)
        passes = train(
            network,
            problem.tasks,
            problem.train,
            retained,
            problem.recipe,
            seed=seed,
            device=device,
            monitor=monitor,
            restart=Restart(clock.resume(), clock.offer),
        )
        batch = max(1, min(problem.recipe.batch_size, int(retained.any(dim=1).sum())))
        return Outcome(network, "exact", steps=passes // batch, visits=0.0, passes=passes, forward_passes=0)
