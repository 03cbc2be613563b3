"""MUNBa: forgetting and retaining bargain over every step, and share the gain.

Wu & Harandi, "MUNBa: Machine Unlearning via Nash Bargaining", ICCV 2025 (arXiv 2411.15537). With g_r the
gradient of the retain loss and g_f that of the loss to forget by, the Nash bargaining solution is
α_r g_r + α_f g_f with Gᵀ G α = 1/α; for two players, φ the angle between them, in closed form

    (g_r / ‖g_r‖ + g_f / ‖g_f‖) / √(1 + cos φ)

so that neither loss rises to first order. Where the gradients are opposed there is nothing to bargain for:
1 + cos φ is kept above `floor`, and their sum vanishes by itself.

The loss to forget by is the ascent −L_F. Several tasks: L_F of the named supervision, L_R of all retained
supervision; all heads move. Any kind's loss serves. The direction goes to the recipe's optimizer.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import flat, gradients_of
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem


@dataclass(frozen=True)
class MunbaSettings:
    """floor: least 1 + cos φ. Epochs are passes over the retain set."""

    floor: float = 1e-3
    pace: Pace = field(default_factory=lambda: Pace(epochs=5, rate=0.1))


@dataclass(frozen=True)
class Munba:
    """Step along the bargained direction. The budget's scale multiplies the epochs."""

    name: str = "munba"
    guarantee: Guarantee = "empirical"
    settings: MunbaSettings = field(default_factory=MunbaSettings)

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
        parameters = list(run.network.parameters())
        sizes = [parameter.numel() for parameter in parameters]

        def gradients(step: int) -> Tensor:
            kept, gone = run.sample(retain.batch(step)), run.sample(forget.batch(step))
            keep = run.mean(run.losses(kept), kept.retained)
            lose = -run.mean(run.losses(gone), gone.forgotten)
            ours, theirs = (flat(gradients_of(loss, parameters)) for loss in (keep, lose))
            agreed = bargain(ours, theirs, self.settings.floor)
            for parameter, part in zip(parameters, torch.split(agreed, sizes), strict=True):
                parameter.grad = part.view_as(parameter).clone()
            return (keep + lose).detach()

        run.walk(pace, steps, pool).take(steps, gradients, "bargaining")
        return run.outcome()


def bargain(first: Tensor, second: Tensor, floor: float) -> Tensor:
    """(P,), (P,) → the Nash bargaining solution of two players. One without a gradient has no say."""
    units = [gradient / gradient.norm().clamp(min=1e-30) for gradient in (first, second)]
    agreed: Tensor = (units[0] + units[1]) / (1 + units[0] @ units[1]).clamp(min=floor).sqrt()
    return agreed
