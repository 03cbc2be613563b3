"""SSD, selective synaptic dampening: shrink the weights that matter much more to the forget set. No training.

Foster et al., "Fast Machine Unlearning without Retraining through Selective Synaptic Dampening", AAAI 2024
(arXiv 2308.07707), algorithm 1. With the diagonals of the Fisher information [D] of everything learned and
[D_f] of the forget set, each an average of squared per-instance gradients:

    θ_i ← β θ_i, β = min(λ [D]_i / [D_f]_i, 1), wherever [D_f]_i > α [D]_i

Several tasks: [D] is of the loss over all supervision of an instance, forgotten or retained; [D_f] of the
named supervision only, so the heads of un-named tasks are never selected. A loss counts as the negative
log-likelihood of its kind: cross-entropy is that of classes, squared error of Gaussian noise.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import backward
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem
from worker.engine.sending import send


@dataclass(frozen=True)
class SsdSettings:
    """alpha selects, lambda_ dampens: the authors' values for ResNet-18, after their search.

    A network that has memorised everything equally selects next to nothing at 10; there 1 to 3 does more.

    microbatch: instances per squared gradient. 1 is the paper's Fisher diagonal; the authors' code squares
    the mean gradient of a whole batch, which is cheaper and smaller.
    """

    alpha: float = 10.0
    lambda_: float = 1.0
    microbatch: int = 1


@dataclass(frozen=True)
class Ssd:
    """Dampen once. There is nothing to try harder with: the budget is not used."""

    name: str = "ssd"
    guarantee: Guarantee = "empirical"
    settings: SsdSettings = field(default_factory=SsdSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        everything = run.retained | run.forgotten
        rows = everything.any(dim=1).nonzero().flatten()
        run.expect(len(rows) + len(run.forget_rows))
        learned = importances(run, rows, everything, self.settings.microbatch)
        forgotten = importances(run, run.forget_rows, run.forgotten, self.settings.microbatch)
        dampened = dampen(run, learned, forgotten, self.settings)
        run.steps = 1
        total = sum(parameter.numel() for parameter in run.network.parameters())
        return run.outcome({"dampened_weights": dampened, "weights": total})


def importances(run: Run, rows: Tensor, supervision: Tensor, microbatch: int = 1) -> list[Tensor]:
    """Per parameter: mean over microbatches of (∂ Σ_t w_t ℓ_t / ∂θ)², over `supervision` (N, T)."""
    parameters = list(run.network.parameters())
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    parts = torch.split(rows, microbatch)
    for part in parts:
        sample = run.sample(part)
        run.network.zero_grad(set_to_none=True)
        backward(run.mean(run.losses(sample), send(supervision[part], run.device)))
        for total, parameter in zip(sums, parameters, strict=True):
            if parameter.grad is not None:
                total.addcmul_(parameter.grad, parameter.grad)
        run.progress.advance(len(part), "importances")
    run.network.zero_grad(set_to_none=True)
    return [total / len(parts) for total in sums]


def dampen(run: Run, learned: list[Tensor], forgotten: list[Tensor], settings: SsdSettings) -> int:
    """Shrink the selected weights in place; returns how many they are."""
    count = 0
    with torch.no_grad():
        for parameter, whole, part in zip(run.network.parameters(), learned, forgotten, strict=True):
            selected = part > settings.alpha * whole
            factor = (settings.lambda_ * whole / part).clamp(max=1.0)
            parameter.copy_(torch.where(selected, parameter * factor, parameter))
            count += int(selected.sum())
    return count
