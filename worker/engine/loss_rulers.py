"""What one task's losses are measured with, so that tasks of any unit and spread are forgotten alike.

b is the number of instances of a batch, m of held-out ones, n of targets, T of tasks, K of knots.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

KNOTS = 33
SMALLEST_GAP = 0.25
"""Of the held-out loss: the gap of a task that was not memorised at all is taken for this much."""


@dataclass(frozen=True)
class LossRulers:
    """scales (T,): how much each task's loss has to give, held-out minus retained loss of the original.
    knots (T, K), strictly ascending: quantiles of its held-out losses, at even shares from 0 to 1; the
    original's at first, then those of a network that they were `moved_to`. Between the last two knots lies a
    thirty-second of the held-out losses: shares there, and losses at them, are rough."""

    scales: Tensor
    knots: Tensor

    def to(self, device: torch.device) -> "LossRulers":
        return LossRulers(self.scales.to(device), self.knots.to(device))

    def shares(self, losses: Tensor) -> Tensor:
        """(b, T) → (b, T) in 0..1: the share of held-out losses below each, linear between the knots, and so
        differentiable there; constant outside of them.

        A membership attack ranks losses, and most ranks lie among small ones: a distance in loss alone would
        see the few large ones only.
        """
        columns = losses.detach().t().contiguous()
        lower = torch.searchsorted(self._inner_knots, columns)
        low, width = self.knots.gather(1, lower).t(), self._widths.gather(1, lower).t()
        return (lower.t() + ((losses - low) / width).clamp(0, 1)) / (KNOTS - 1)

    def losses(self, shares: Tensor, columns: Tensor) -> Tensor:
        """(n,) and the tasks (n,) that they are of → (n,): the losses of which `shares` says these."""
        place = shares.clamp(0, 1) * (KNOTS - 1)
        lower = place.long().clamp(max=KNOTS - 2)
        return torch.lerp(self.knots[columns, lower], self.knots[columns, lower + 1], place - lower)

    def moved_to(self, holdout: Tensor, held: Tensor) -> "LossRulers":
        """The same scales over other held-out losses (m, T) and their mask, on the CPU."""
        knots = torch.stack([_knots(holdout[mine, task]) for task, mine in enumerate(held.t())])
        return replace(self, knots=knots.to(self.knots.device))

    @cached_property
    def _inner_knots(self) -> Tensor:
        return self.knots[:, 1:-1].contiguous()

    @cached_property
    def _widths(self) -> Tensor:
        return self.knots.diff(dim=1)

    def state(self) -> Mapping[str, Tensor]:
        return {"scales": self.scales, "knots": self.knots}


def fit_rulers(retained: Tensor, holdout: Tensor, kept: Tensor, held: Tensor) -> LossRulers:
    """Losses of the original, retained (r, T) and held-out (m, T), with their masks; float32 on the CPU.

    A task without supervision in either has rulers that mean nothing, and are finite.
    """
    scales, knots = [], []
    for column in range(retained.shape[1]):
        before, after = retained[kept[:, column], column], holdout[held[:, column], column]
        if len(before) == 0 or len(after) == 0:
            before = after = torch.ones(1)
        typical = after.mean()
        gap = torch.maximum(typical - before.mean(), SMALLEST_GAP * typical.abs())
        scales.append(gap.clamp(min=torch.finfo(gap.dtype).tiny ** 0.5))
        knots.append(_knots(after))
    return LossRulers(torch.stack(scales), torch.stack(knots))


def _knots(losses: Tensor) -> Tensor:
    """(m,) → (K,); of no losses some that mean nothing, and are finite."""
    losses = losses if len(losses) else torch.ones(1)
    quantiles = torch.quantile(losses.double(), torch.linspace(0, 1, KNOTS, dtype=torch.float64))
    apart = 1e-6 * (quantiles[-1] - quantiles[0] + quantiles[-1].abs() + 1e-12)
    return (quantiles + apart * torch.arange(KNOTS)).to(losses.dtype)
