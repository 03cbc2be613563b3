"""MUNBa: forgetting and retaining bargain over a step, and share the gain.

Wu & Harandi, "MUNBa: Machine Unlearning via Nash Bargaining", ICCV 2025 (arXiv 2411.15537), and the authors'
code for classification. With g_r the gradient of the retain loss and g_f that of the loss to forget by, the
Nash bargaining solution is α_r g_r + α_f g_f with Gᵀ G α = 1/α; for two players, φ the angle between them, in
closed form

    (g_r / ‖g_r‖ + g_f / ‖g_f‖) / √(1 + cos φ)

so that neither loss rises to first order. Where the gradients are opposed there is nothing to bargain for:
1 + cos φ is kept above `floor`, and their sum vanishes by itself.

As in that code, the loss to forget by is that of random targets, the bargained step is clipped to norm 1 (its
own is √2), and each epoch bargains while the batches of the forget set last; the rest of it is plain steps on
the retain loss. Several tasks: random targets replace the named supervision, L_R is of all retained
supervision; all heads move. Any kind's loss serves. The direction goes to the recipe's optimizer.
"""

from dataclasses import dataclass, field
from math import ceil

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from worker.engine.baselines.gradients import backward, flat, gradients_of
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.random_targets import RandomTargets
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem


@dataclass(frozen=True)
class MunbaSettings:
    """floor: least 1 + cos φ. max_norm: of the bargained step. Epochs are passes over the retain set."""

    floor: float = 1e-3
    max_norm: float = 1.0
    pace: Pace = field(default_factory=lambda: Pace(epochs=10, rate=0.1))


@dataclass(frozen=True)
class Munba:
    """Bargain over the forget set, mend on the rest. The budget's scale multiplies the epochs."""

    name: str = "munba"
    guarantee: Guarantee = "empirical"
    settings: MunbaSettings = field(default_factory=MunbaSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: network_frozen, task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        pace, pool = self.settings.pace, len(run.retain_rows)
        steps = pace.steps(problem.recipe, pool, budget.scale)
        retain = run.stream(run.retain_rows, pace.batch(problem.recipe, pool), "retain")
        parts = ceil(len(run.forget_rows) / retain.batch_size)
        forget = run.stream(run.forget_rows, len(run.forget_rows) // parts, "forget")
        bargains = min(forget.batches_per_pass, retain.batches_per_pass)
        epochs, rest = divmod(steps, retain.batches_per_pass)
        bargained = epochs * bargains + min(rest, bargains)
        run.expect(steps * retain.batch_size + bargained * forget.batch_size)
        targets = RandomTargets(run)
        parameters = list(run.network.parameters())
        sizes = [parameter.numel() for parameter in parameters]

        def gradients(step: int) -> Tensor:
            epoch, place = divmod(step, retain.batches_per_pass)
            kept = run.sample(retain.batch(step))
            keep = run.mean(run.losses(kept), kept.retained)
            if place >= bargains:
                return backward(keep)
            gone = targets.replace(run.sample(forget.batch(epoch * bargains + place)), epoch)
            lose = run.mean(run.losses(gone), gone.forgotten)
            ours, theirs = (flat(gradients_of(loss, parameters)) for loss in (keep, lose))
            agreed = bargain(ours, theirs, self.settings.floor)
            for parameter, part in zip(parameters, torch.split(agreed, sizes), strict=True):
                parameter.grad = part.view_as(parameter).clone()
            clip_grad_norm_(parameters, self.settings.max_norm)
            return (keep + lose).detach()

        run.walk(pace, steps, pool).take(steps, gradients, "bargaining")
        return run.outcome()


def bargain(first: Tensor, second: Tensor, floor: float) -> Tensor:
    """(P,), (P,) → the Nash bargaining solution of two players. One without a gradient has no say."""
    units = [gradient / gradient.norm().clamp(min=1e-30) for gradient in (first, second)]
    agreed: Tensor = (units[0] + units[1]) / (1 + units[0] @ units[1]).clamp(min=floor).sqrt()
    return agreed
