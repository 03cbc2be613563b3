"""Intervals by resampling instances with replacement: the percentile bootstrap of Efron 1979."""

from math import ceil

import torch
from torch import Tensor

from worker.engine.randomness import derived_generator

RESAMPLES = 400


def resampled(
    members: Tensor, non_members: Tensor, *, seed: int, resamples: int = RESAMPLES
) -> tuple[Tensor, Tensor]:
    """(n,), (m,) → (resamples, n), (resamples, m). The same seed draws the same instances whatever their
    scores, so that two networks on the same instances can be compared draw by draw."""
    generator = derived_generator(seed, "bootstrap")
    mine, others = [], []
    for _ in range(resamples):
        mine.append(torch.randint(len(members), (len(members),), generator=generator))
        others.append(torch.randint(len(non_members), (len(non_members),), generator=generator))
    return members[torch.stack(mine)], non_members[torch.stack(others)]


def areas_under_curves(members: Tensor, non_members: Tensor) -> Tensor:
    """(R, n), (R, m) → (R,): `membership.area_under_curve` of each row."""
    ordered = non_members.double().sort(dim=1).values
    values = members.double().contiguous()
    up_to = torch.searchsorted(ordered, values, side="right").double()
    below = torch.searchsorted(ordered, values, side="left").double()
    return (ordered.shape[1] - (up_to + below) / 2).mean(dim=1) / ordered.shape[1]


def true_positive_rates(members: Tensor, non_members: Tensor, false_positives: float) -> Tensor:
    """(R, n), (R, m) → (R,): `membership.true_positives` of each row."""
    allowed = ceil(false_positives * non_members.shape[1] + 1) - 1
    ordered = non_members.sort(dim=1).values
    low = (members < ordered[:, allowed, None]).double().mean(dim=1)
    high = (members > ordered[:, -1 - allowed, None]).double().mean(dim=1)
    return torch.maximum(low, high)


def interval(values: Tensor) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return round(low, 6), round(high, 6)
