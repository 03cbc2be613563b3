"""NegGrad+: descend on what is retained while ascending on the forget set.

Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023 (arXiv 2302.09880), a baseline:

    L(w) = β · L_R(w) − (1 − β) · L_F(w)

One batch of each per step; an epoch is a pass over the retain set, the forget set goes round.

Several tasks: L_F is over the named supervision, L_R over all retained supervision, un-named tasks of the
forget instances included. All heads move: each has retained supervision in L_R. Any kind's loss serves.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import backward
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem


@dataclass(frozen=True)
class NegativeGradientPlusSettings:
    """beta: weight of the retained side; the authors' searches lie in 0.95 … 0.9999."""

    beta: float = 0.95
    pace: Pace = field(default_factory=lambda: Pace(epochs=5, rate=0.3))


@dataclass(frozen=True)
class NegativeGradientPlus:
    """Minimise β L_R − (1 − β) L_F. The budget's scale multiplies the epochs; its visits are not used."""

    name: str = "negative_gradient_plus"
    guarantee: Guarantee = "empirical"
    settings: NegativeGradientPlusSettings = field(default_factory=NegativeGradientPlusSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        pace, pool = self.settings.pace, len(run.retain_rows)
        steps = pace.steps(problem.recipe, pool, budget.scale)
        retain = run.stream(run.retain_rows, pace.batch(problem.recipe, pool), "retain")
        forget = run.stream(run.forget_rows, pace.batch(problem.recipe, len(run.forget_rows)), "forget")
        run.expect(steps * (retain.batch_size + forget.batch_size))

        def gradients(step: int) -> Tensor:
            return backward(combined_loss(run, retain.batch(step), forget.batch(step), self.settings.beta))

        run.walk(pace, steps, pool).take(steps, gradients, "ascending and descending")
        return run.outcome()


def combined_loss(run: Run, retain: Tensor, forget: Tensor, beta: float) -> Tensor:
    """β L_R − (1 − β) L_F over rows (b,) of each; of the latter only the forgotten supervision counts."""
    kept, gone = run.sample(retain), run.sample(forget)
    retain_loss = run.mean(run.losses(kept), kept.retained)
    forget_loss = run.mean(run.losses(gone), gone.forgotten)
    return beta * retain_loss - (1 - beta) * forget_loss
