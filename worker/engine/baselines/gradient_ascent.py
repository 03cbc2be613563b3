"""Gradient ascent on the forget set.

Thudi et al., "Unrolling SGD", EuroS&P 2022 (arXiv 2109.13398) and Golatkar et al., CVPR 2020
(arXiv 1911.04933), as "negative gradient". A few short epochs over the forget set, as in the comparison of
SalUn (arXiv 2310.12508).

Several tasks: only the named supervision's loss rises. The heads of un-named tasks have no gradient and
stay bit-identical. The loss is unbounded for every kind: what stops it is its few, short steps.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import backward
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem


@dataclass(frozen=True)
class GradientAscentSettings:
    pace: Pace = field(default_factory=lambda: Pace(epochs=5, rate=0.05))


@dataclass(frozen=True)
class GradientAscent:
    """Maximise L_F. The budget's scale multiplies the epochs; its visits are not used."""

    name: str = "gradient_ascent"
    guarantee: Guarantee = "empirical"
    settings: GradientAscentSettings = field(default_factory=GradientAscentSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        pace, pool = self.settings.pace, len(run.forget_rows)
        batch = pace.batch(problem.recipe, pool)
        steps = pace.steps(problem.recipe, pool, budget.scale)
        forget = run.stream(run.forget_rows, batch, "forget")
        run.expect(steps * batch)

        def gradients(step: int) -> Tensor:
            sample = run.sample(forget.batch(step))
            return backward(-run.mean(run.losses(sample), sample.forgotten))

        run.walk(pace, steps, pool).take(steps, gradients, "ascending")
        return run.outcome()
