"""OrthoGrad: ascend on the forget set, orthogonally to the gradient of every single retained sample.

Shamsian et al., "Go Beyond Your Means: Unlearning with Per-Sample Gradient Orthogonalization", 2025
(arXiv 2503.02312). With G_r = [g_r¹ … g_rᵏ] the gradients of the samples of a retain batch, Q R = G_r, and
g_u the gradient of the forget loss:

    g_u⊥ = g_u − Q Qᵀ g_u,        step against  α · mean(g_r) − (1 − α) · g_u⊥

Several tasks: g_u is of the named supervision; a retained sample's gradient is of all its retained
supervision, un-named tasks of forget instances included. Heads of un-named tasks move by α · mean(g_r)
alone, and not at all with α = 0. Any kind's loss serves.

The direction goes to the recipe's optimizer, which may bend it; with `plain=True` in the pace the step is
the direction itself.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import flat, gradients_of
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem


@dataclass(frozen=True)
class OrthogradSettings:
    """alpha: weight of the retained side. retain_batch: k, the gradients that must all be left alone.

    Epochs are passes over the forget set: the method is meant for small retain sets.
    """

    alpha: float = 0.5
    retain_batch: int = 16
    pace: Pace = field(default_factory=lambda: Pace(epochs=10, rate=0.3))


@dataclass(frozen=True)
class Orthograd:
    """Ascend in the orthogonal complement. The budget's scale multiplies the epochs."""

    name: str = "orthograd"
    guarantee: Guarantee = "empirical"
    settings: OrthogradSettings = field(default_factory=OrthogradSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        pace, pool = self.settings.pace, len(run.forget_rows)
        steps = pace.steps(problem.recipe, pool, budget.scale)
        forget = run.stream(run.forget_rows, pace.batch(problem.recipe, pool), "forget")
        retain = run.stream(run.retain_rows, self.settings.retain_batch, "retain")
        run.expect(steps * (forget.batch_size + retain.batch_size))
        parameters = list(run.network.parameters())
        sizes = [parameter.numel() for parameter in parameters]

        def gradients(step: int) -> Tensor:
            each = sample_gradients(run, retain.batch(step))
            gone = run.sample(forget.batch(step))
            loss = run.mean(run.losses(gone), gone.forgotten)
            ascent = orthogonal_part(flat(gradients_of(loss, parameters)), each)
            alpha = self.settings.alpha
            direction = alpha * each.mean(dim=0) - (1 - alpha) * ascent
            for parameter, part in zip(parameters, torch.split(direction, sizes), strict=True):
                parameter.grad = part.view_as(parameter).clone()
            return loss.detach()

        run.walk(pace, steps, pool).take(steps, gradients, "ascending orthogonally")
        return run.outcome()


def sample_gradients(run: Run, rows: Tensor) -> Tensor:
    """(k, P): the gradient of each row's own retained loss, one at a time."""
    parameters = list(run.network.parameters())
    found = []
    for row in torch.split(rows, 1):
        sample = run.sample(row)
        found.append(flat(gradients_of(run.mean(run.losses(sample), sample.retained), parameters)))
    return torch.stack(found)


def orthogonal_part(gradient: Tensor, others: Tensor) -> Tensor:
    """gradient (P,) − Q Qᵀ gradient, Q R = othersᵀ, others (k, P); in double precision.

    Each of the others is normalised first: one that is a million times smaller counts as much.
    """
    norms = others.double().norm(dim=1, keepdim=True)
    kept = others.double()[norms.flatten() > 0] / norms[norms > 0][:, None]
    if len(kept) == 0:
        return gradient
    basis, _ = torch.linalg.qr(kept.T)
    vector = gradient.double()
    for _ in range(2):  # the second time removes what rounding left
        vector = vector - basis @ (basis.T @ vector)
    return vector.to(gradient.dtype)
