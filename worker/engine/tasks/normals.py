"""Surface normals: one direction, three numbers, per pixel."""

from math import cos, radians

import numpy as np
import torch
from torch import Tensor

from worker.engine.contract import TaskSpec
from worker.engine.tasks.pixels import Array, channels_first, check_finite, check_grid, mean_over_pixels

WITHIN_DEGREES = 30.0
_SHORTEST = 1e-6


class Normals:
    """1 − cosine as loss and as divergence; the share of pixels within 30°. Means over an instance's pixels.

    A stored vector of zeros is a pixel without supervision. The length of what the network gives does not
    matter. The metric is the literature's widest accuracy (Fouhey et al. 2013: within 11.25°, 22.5°, 30°):
    networks of every quality are somewhere between its ends, which cannot be said of the narrow ones.
    """

    metric = "within_30_degrees"
    dense = True

    def read(self, array: Array, spec: TaskSpec) -> tuple[Tensor, Tensor]:
        """(N, H, W, 3) or (N, 3, H, W) → (N, 3, H, W) float32 of length 1, or 0 where unknown; present."""
        with np.errstate(over="ignore"):
            values = np.array(channels_first(array, 3, spec), dtype=np.float32, order="C")
        check_finite(values, spec)
        vectors = torch.from_numpy(values).double()
        long_enough = vectors.square().sum(dim=1, keepdim=True) > _SHORTEST**2
        targets = (_unit(vectors) * long_enough).float()
        return targets, _known(targets).flatten(1).any(dim=1)

    def fit_ruler(self, targets: Tensor) -> Tensor:
        return torch.ones(())

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(B, 3, H, W), (B, 3, H, W) → (B,)"""
        check_grid(outputs, 3, targets)
        return mean_over_pixels(1 - cosines(outputs, targets), _known(targets))

    def divergences(self, outputs: Tensor, reference: Tensor) -> Tensor:
        return (1 - cosines(outputs, reference)).mean(dim=(1, 2))

    def scores(self, outputs: Tensor, targets: Tensor, ruler: Tensor) -> Tensor:
        close = cosines(outputs, targets) > cos(radians(WITHIN_DEGREES))
        return mean_over_pixels(close.to(torch.float32), _known(targets))


def cosines(outputs: Tensor, targets: Tensor) -> Tensor:
    """(B, 3, H, W), (B, 3, H, W) of any lengths → (B, H, W) in −1..1; 0 where either has no direction."""
    return (_unit(outputs) * _unit(targets)).sum(dim=1).clamp(-1, 1)


def _unit(vectors: Tensor) -> Tensor:
    """(B, 3, …) at length 1; one too short to have a direction stays as it is, and its gradient small.

    Spelt out, because torch's vector norm is forty times slower over channels.
    """
    squares = vectors.square().sum(dim=1, keepdim=True)
    return vectors / torch.where(squares > _SHORTEST**2, squares, torch.ones_like(squares)).sqrt()


def _known(targets: Tensor) -> Tensor:
    return (targets != 0).any(dim=1)
