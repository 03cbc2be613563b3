"""The teacher of the forget set: the original, moved as far along the reference's drift as the goal asks.

z^κ = z^O + κ (z^E − z^O): E forgets a little while it learns on without the request; κ says how much more.
"""

import torch
from torch import Tensor

from worker.engine.supervision import Task

KAPPAS = tuple(step / 10 for step in range(41))


def extrapolate(original: Tensor, reference: Tensor, kappa: float | Tensor) -> Tensor:
    """z^O + κ (z^E − z^O), (B, outputs); κ a number or (B, 1)."""
    return original + kappa * (reference - original)


def calibrate_kappa(task: Task, original: Tensor, reference: Tensor, targets: Tensor, goal: float) -> float:
    """The smallest κ of `KAPPAS` whose metric on the pool (n, …) is down to `goal` (points).

    If none gets there, the one that gets closest. On the metric: calibrated on the loss it fails badly.
    """
    best, distance = 0.0, float("inf")
    for kappa in KAPPAS:
        outputs = extrapolate(original, reference, kappa)
        metric = float(task.kind.scores(outputs, targets, task.ruler).double().mean()) * 100
        if metric <= goal:
            return kappa
        if metric - goal < distance:
            best, distance = kappa, metric - goal
    return best


def stack_kappas(kappas: list[float], device: torch.device) -> Tensor:
    """(n,) → (n, 1) on the device."""
    return torch.tensor(kappas, device=device)[:, None]
