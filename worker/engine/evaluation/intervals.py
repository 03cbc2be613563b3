"""95 % confidence intervals of metrics in points."""

from math import sqrt
from typing import TypedDict

import torch
from torch import Tensor

Z = 1.959963984540054


class Estimate(TypedDict):
    """A metric in points (0..100) over n instances, and its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def estimate(scores: Tensor) -> Estimate | None:
    """scores (n,) in 0..1. Wilson's interval for shares (all scores 0 or 1), else the normal one of the mean,
    widened as Wilson's is where there are few. None for no instances."""
    count = len(scores)
    if count == 0:
        return None
    values = scores.double()
    mean = float(values.mean())
    binary = bool(((values == 0) | (values == 1)).all())
    low, high = wilson(mean, count) if binary else _mean_interval(values)
    return {"value": _points(mean), "low": _points(low), "high": _points(high), "n": count}


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share in 0..1 over `count` trials."""
    denominator = 1 + Z**2 / count
    centre = (share + Z**2 / (2 * count)) / denominator
    half = Z / denominator * sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def _mean_interval(values: Tensor) -> tuple[float, float]:
    """Mean ± z · s / √n, cut to 0..1; never narrower than one instance's worth, and 0..1 for a single one."""
    if len(values) == 1:
        return 0.0, 1.0
    mean = float(values.mean())
    half = max(Z * float(values.std()) / sqrt(len(values)), 1 / (2 * len(values)))
    return max(0.0, mean - half), min(1.0, mean + half)


def _points(share: float) -> float:
    return float(torch.tensor(share * 100, dtype=torch.float64).round(decimals=4))
