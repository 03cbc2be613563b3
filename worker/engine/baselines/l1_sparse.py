"""ℓ1-sparse fine-tuning: forgetting by catastrophic forgetting, helped by sparsity.

Jia et al., "Model Sparsity Can Simplify Machine Unlearning", NeurIPS 2023 (arXiv 2304.04934): minimise
L_R(θ) + γ ‖θ‖₁ over the retain set, γ falling linearly to 0 (their best schedule), ten epochs.

Several tasks: as in `fine_tune`, the retained supervision of all tasks; all weights move, un-named heads too.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import backward
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem


@dataclass(frozen=True)
class L1SparseSettings:
    gamma: float = 5e-4
    pace: Pace = field(default_factory=lambda: Pace(epochs=10, rate=0.3))


@dataclass(frozen=True)
class L1Sparse:
    """Minimise L_R + γ‖θ‖₁. The budget's scale multiplies the epochs."""

    name: str = "l1_sparse"
    guarantee: Guarantee = "empirical"
    settings: L1SparseSettings = field(default_factory=L1SparseSettings)

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
            gamma = self.settings.gamma * (1 - step / steps)
            size = torch.stack([parameter.abs().sum() for parameter in run.network.parameters()]).sum()
            return backward(run.mean(run.losses(sample), sample.retained) + gamma * size)

        run.walk(pace, steps, pool).take(steps, gradients, "fine-tuning sparsely")
        return run.outcome()
