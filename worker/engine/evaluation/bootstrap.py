"""Intervals by resampling instances with replacement: the percentile bootstrap of Efron 1979."""

from collections.abc import Callable

import torch
from torch import Tensor

from worker.engine.randomness import derived_generator

RESAMPLES = 400

Statistic = Callable[[Tensor, Tensor], float]


def resampled(
    members: Tensor, non_members: Tensor, statistic: Statistic, *, seed: int, resamples: int = RESAMPLES
) -> Tensor:
    """(resamples,) values. The same seed draws the same instances whatever their scores, so that two networks
    on the same instances can be compared draw by draw."""
    generator = derived_generator(seed, "bootstrap")
    values = []
    for _ in range(resamples):
        mine = torch.randint(len(members), (len(members),), generator=generator)
        others = torch.randint(len(non_members), (len(non_members),), generator=generator)
        values.append(statistic(members[mine], non_members[others]))
    return torch.tensor(values, dtype=torch.float64)


def interval(values: Tensor) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return round(low, 6), round(high, 6)
