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


def reliability(original: Tensor, probe: Tensor) -> float:
    """ρ in 0..1: correlation of two networks' percentiles of the same (m,) held-out losses.

    Neither network has seen these instances, so it says how well the one foretells what the other, fully
    trained, makes of instances that it never saw: the slope of the regression of its percentiles. 0 if they
    do not differ among themselves.
    """
    first, second = percentiles(original, original), percentiles(probe, probe)
    if min(float(first.std(correction=0)), float(second.std(correction=0))) == 0:
        return 0.0
    return min(1.0, max(0.0, float(torch.corrcoef(torch.stack([first, second]))[0, 1])))


def target_losses(percentile: Tensor, holdout_losses: Tensor, weight: float) -> Tensor:
    """(n,), (m,) → (n,) ascending: weight · Q(u) + (1 − weight) · Q(evenly spaced), both ascending."""
    count = len(percentile)
    even = (torch.arange(count) + 0.5) / count
    estimated = quantiles(holdout_losses, percentile.sort().values)
    return torch.lerp(quantiles(holdout_losses, even), estimated, weight)
