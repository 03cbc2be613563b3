"""SFR-on: salient, adaptively weighted ascent on the forget set, mended by steps on the retain set.

Huang et al., "Unified Gradient-Based Machine Unlearning with Remain Geometry Enhancement", NeurIPS 2024
(arXiv 2409.19732), and the authors' code. With F the diagonal of the Fisher information at the original,

    m = 1(F_f ≥ γ F_r)                               weights that say more of the forget set than of the rest
    fast:  θ ← θ + η m ⊙ ∇ α_k Σ_i c_i ℓ_i           c_i ∝ ℓ_i^−λ, Σ c_i = 1: what is forgotten weighs less
    slow:  θ ← θ − η ∇ ℓ_r, `mending` times          which keeps the ascent within the remain geometry

α_k falls to 0 along a cosine, and the ascent's gradient is clipped. As in all settings of the authors' code,
steps are not averaged with the weights before them, and F is the mean of squared gradients of batches.

Several tasks: ℓ_i and F_f are of the named supervision, c is normalised per task; ℓ_r and F_r are of all
retained supervision. All heads move in the slow steps. Any kind's loss serves.
"""

from dataclasses import dataclass, field
from math import cos, pi

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from worker.engine.baselines.gradients import backward
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run
from worker.engine.baselines.ssd import importances
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem

TINY = 1e-15


@dataclass(frozen=True)
class SfronSettings:
    """gamma, lambda_ and alpha (its start) as in the equations. mending: retain steps per forget step.

    max_norm: of the ascent's gradient. Epochs are passes over the retain set.
    """

    gamma: float = 1.0
    lambda_: float = 0.5
    alpha: float = 25.0
    mending: int = 5
    max_norm: float = 7.0
    pace: Pace = field(default_factory=lambda: Pace(epochs=5, rate=0.3, schedule="cosine"))


@dataclass(frozen=True)
class Sfron:
    """Ascend where it is salient, and mend. The budget's scale multiplies the epochs."""

    name: str = "sfron"
    guarantee: Guarantee = "empirical"
    settings: SfronSettings = field(default_factory=SfronSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: network_frozen, task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        settings, pace, pool = self.settings, self.settings.pace, len(run.retain_rows)
        retain = run.stream(run.retain_rows, pace.batch(problem.recipe, pool), "retain")
        forget = run.stream(run.forget_rows, pace.batch(problem.recipe, len(run.forget_rows)), "forget")
        mended = pace.steps(problem.recipe, pool, budget.scale)
        forgotten = -(-mended // settings.mending)
        run.expect(len(run.forget_rows) + pool + mended * retain.batch_size + forgotten * forget.batch_size)
        masks = remain_balanced_masks(run, settings.gamma, retain.batch_size)
        parameters = list(run.network.parameters())

        def gradients(step: int) -> Tensor:
            turn, place = divmod(step, settings.mending + 1)
            if place > 0:
                sample = run.sample(retain.batch(turn * settings.mending + place - 1))
                return backward(run.mean(run.losses(sample), sample.retained))
            sample = run.sample(forget.batch(turn))
            strength = settings.alpha * (1 + cos(pi * turn / forgotten)) / 2
            losses = run.losses(sample)
            weights = adaptive_weights(losses.detach(), sample.forgotten, settings.lambda_)
            value = backward(-strength * ((losses * weights).sum(dim=0) * run.weights).sum())
            for parameter, mask in zip(parameters, masks, strict=True):
                if parameter.grad is not None:
                    parameter.grad *= mask
            clip_grad_norm_(parameters, settings.max_norm)
            return value

        run.walk(pace, mended + forgotten, pool).take(mended + forgotten, gradients, "ascending and mending")
        return run.outcome({"salient_weights": sum(int(mask.sum()) for mask in masks)})


def remain_balanced_masks(run: Run, gamma: float, batch: int) -> list[Tensor]:
    """Per parameter, True where F_f ≥ γ F_r; a weight that neither depends on may move as it likes."""
    forgotten = importances(run, run.forget_rows, run.forgotten, batch)
    retained = importances(run, run.retain_rows, run.retained, batch)
    return [part + TINY >= gamma * (rest + TINY) for part, rest in zip(forgotten, retained, strict=True)]


def adaptive_weights(losses: Tensor, mask: Tensor, power: float) -> Tensor:
    """losses, mask (B, T) → (B, T) ∝ ℓ^−power over the mask, adding up to 1 for each task that has any."""
    weights = (1 / (losses.pow(power) + TINY)).masked_fill(~mask, 0.0)
    return weights / weights.sum(dim=0).clamp(min=TINY)
