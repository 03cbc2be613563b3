"""The teacher of the forget set: the original, moved as far along the reference's drift as the goal asks.

z^κ = z^O + κ (z^E − z^O): E forgets a little while it learns on without the request; κ says how much more.
"""

import torch
from torch import Tensor

from worker.engine.supervision import Task

KAPPAS = tuple(step / 10 for step in range(81))


def extrapolate(original: Tensor, reference: Tensor, kappa: float | Tensor) -> Tensor:
    """z^O + κ (z^E − z^O), (B, outputs); κ a number or (B, 1)."""
    return original + kappa * (reference - original)


def scores_along(task: Task, original: Tensor, reference: Tensor, targets: Tensor) -> Tensor:
    """(n, …) each → (κ,) on the CPU, in double: the sum of the n scores at each of `KAPPAS`."""
    found = [
        task.kind.scores(extrapolate(original, reference, kappa), targets, task.ruler).double().sum()
        for kappa in KAPPAS
    ]
    return torch.stack(found).cpu()


def smallest_kappa(metrics: Tensor, goal: float) -> float:
    """metrics (κ,) of a pool at each of `KAPPAS`, in points → the smallest κ that is down to `goal`.

    If none gets there, the one that gets closest. On the metric: calibrated on the loss it fails badly.
    """
    reached = (metrics <= goal).nonzero()
    return KAPPAS[int(reached[0]) if len(reached) else int(metrics.argmin())]
