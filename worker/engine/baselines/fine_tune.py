"""Fine-tuning on what is retained: forgetting is left to catastrophic forgetting.

A baseline of Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020 (arXiv 1911.04933), and of
most since. Ten epochs, as in the comparison of SalUn (arXiv 2310.12508).

Several tasks: the retained supervision of all of them, the un-named tasks of the forget instances
included; all heads move, as they do in training. The loss is the recipe's, so that any kind of task serves.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import backward
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem


@dataclass(frozen=True)
class FineTuneSettings:
    pace: Pace = field(default_factory=lambda: Pace(epochs=10, rate=0.3))


@dataclass(frozen=True)
class FineTune:
    """Minimise L_R. The budget's scale multiplies the epochs; its visits are not used."""

    name: str = "fine_tune"
    guarantee: Guarantee = "empirical"
    settings: FineTuneSettings = field(default_factory=FineTuneSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        pace, pool = self.settings.pace, len(run.retain_rows)
        batch = pace.batch(problem.recipe, pool)
        steps = pace.steps(problem.recipe, pool, budget.scale)
        retain = run.stream(run.retain_rows, batch, "retain")
        run.expect(steps * batch)

        def gradients(step: int) -> Tensor:
            sample = run.sample(retain.batch(step))
            return backward(run.mean(run.losses(sample), sample.retained))

        run.walk(pace, steps, pool).take(steps, gradients, "fine-tuning")
        return run.outcome()
