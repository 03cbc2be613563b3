"""SalUn: random labels, learned only by the weights that the forget set depends on most.

Fan et al., "SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency", ICLR 2024
(arXiv 2310.12508), section 4:

    m_S = 1(|∇_θ ℓ_f(θ; D_f)| ≥ γ) at θ = θ_o      γ the median: half of the weights
    θ_u = m_S ⊙ (Δθ + θ_o) + (1 − m_S) ⊙ θ_o        Δθ from random labelling

Several tasks: ℓ_f is the loss of the named supervision. A weight without any gradient is never salient, so
the heads of un-named tasks stay bit-identical. Regression and dense targets: see `random_targets`.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import backward
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.random_label import relabel, relabelling_passes
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem
from worker.engine.room import instances_at_once


@dataclass(frozen=True)
class SalUnSettings:
    """salient: share of all weights that may move."""

    salient: float = 0.5
    pace: Pace = field(default_factory=lambda: Pace(epochs=10, rate=0.3))


@dataclass(frozen=True)
class SalUn:
    """Random labelling under a saliency mask. The budget's scale multiplies the epochs."""

    name: str = "salun"
    guarantee: Guarantee = "empirical"
    settings: SalUnSettings = field(default_factory=SalUnSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        run.expect(len(run.forget_rows) + relabelling_passes(run, self.settings.pace))
        masks = saliency_masks(forget_gradient(run), self.settings.salient)
        relabel(run, self.settings.pace, masks)
        moved = sum(int(mask.sum()) for mask in masks)
        return run.outcome({"salient_weights": moved, "weights": sum(mask.numel() for mask in masks)})


def saliency_masks(gradients: list[Tensor], share: float) -> list[Tensor]:
    """True for the `share` of all entries with the largest |gradient|, over all tensors together."""
    sizes = [gradient.numel() for gradient in gradients]
    magnitude = torch.cat([gradient.flatten() for gradient in gradients]).abs()
    salient = torch.zeros_like(magnitude, dtype=torch.bool)
    salient[torch.topk(magnitude, int(share * len(magnitude))).indices] = True
    salient &= magnitude > 0
    return [
        part.view_as(gradient) for part, gradient in zip(torch.split(salient, sizes), gradients, strict=True)
    ]


def forget_gradient(run: Run) -> list[Tensor]:
    """∇ of Σ_t w_t · mean of ℓ_t over F_t, per parameter: one pass over the forget set."""
    counts = run.forgotten.sum(dim=0).clamp(min=1).to(run.device)
    run.network.zero_grad(set_to_none=True)
    for rows in torch.split(run.forget_rows, instances_at_once(run.problem.train)):
        sample = run.sample(rows)
        losses = run.losses(sample).masked_fill(~sample.forgotten, 0.0)
        backward((losses.sum(dim=0) / counts * run.weights).sum())
        run.progress.advance(len(rows), "saliency")
    found = [
        torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for parameter in run.network.parameters()
    ]
    run.network.zero_grad(set_to_none=True)
    return found
