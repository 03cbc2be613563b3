"""Percentile transfer: which losses the forget set would have, had it never been learned.

All losses are per instance, of one task.
"""

import torch
from torch import Tensor


def percentiles(losses: Tensor, among: Tensor) -> Tensor:
    """(n,), (m,) → (n,) in 0..1: the share of `among` that lies below each loss, ties counting half."""
    ordered = among.sort().values
    below = torch.searchsorted(ordered, losses.contiguous(), side="left")
    up_to = torch.searchsorted(ordered, losses.contiguous(), side="right")
    return (below + up_to).to(torch.float32) / (2 * len(ordered))


def quantiles(losses: Tensor, at: Tensor) -> Tensor:
    """(m,), (n,) in 0..1 → (n,): the quantile function Q of the losses, linear between order statistics."""
    ordered = losses.sort().values
    position = at.clamp(0, 1) * len(ordered) - 0.5
    lower = position.floor().clamp(0, len(ordered) - 1)
    upper = (lower + 1).clamp(max=len(ordered) - 1)
    share = (position - lower).clamp(0, 1)
    return torch.lerp(ordered[lower.long()], ordered[upper.long()], share)


def evidence(percentile: Tensor, holdout: int) -> float:
    """Shrinkage s = max(0, 1 − SE² / (ū − ½)²), SE² = (1/n + 1/m) / 12, in 0..1.

    How far the percentiles (n,) of a forget set among m held-out instances are from those of a random set:
    0 when their mean cannot be told from ½, so that nothing is calibrated on a handful.
    """
    deviation = float(percentile.mean()) - 0.5
    variance = (1 / len(percentile) + 1 / holdout) / 12
    return 0.0 if deviation == 0 else max(0.0, 1 - variance / deviation**2)


def target_losses(percentile: Tensor, holdout_losses: Tensor, weight: float) -> Tensor:
    """(n,), (m,) → (n,) ascending: weight · Q(u) + (1 − weight) · Q(evenly spaced), both ascending."""
    count = len(percentile)
    even = (torch.arange(count) + 0.5) / count
    estimated = quantiles(holdout_losses, percentile.sort().values)
    return torch.lerp(quantiles(holdout_losses, even), estimated, weight)
