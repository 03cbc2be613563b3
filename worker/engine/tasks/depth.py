"""Depth estimation: one positive number per pixel, be it depth or inverse depth (disparity)."""

import numpy as np
import torch
from torch import Tensor

from worker.engine.contract import TaskSpec
from worker.engine.tasks.pixels import Array, channels_first, check_finite, check_grid, mean_over_pixels

WITHIN = 1.25


class Depth:
    """Absolute error; L1 divergence on what the network gives (log-depth, if that is what it was trained
    to give); the share of pixels within δ < 1.25. Each is a mean over an instance's measured pixels.

    A stored value of 0 (or below, as conversions from disparity leave them) is a pixel without a
    measurement. The metric is the first of the literature's accuracies (Eigen et al. 2014, section 4.2):
    max(d̂ / d, d / d̂) < 1.25. It is bounded, one far pixel cannot undo it, it needs no ruler, and it says
    the same of depth and of inverse depth. A threshold would be jumpy for one number; over thousands of
    pixels it is not.
    """

    metric = "within_delta_1.25"
    dense = True

    def read(self, array: Array, spec: TaskSpec) -> tuple[Tensor, Tensor]:
        """(N, H, W), (N, H, W, 1) or (N, 1, H, W) → (N, 1, H, W) float32, 0 where unmeasured; present."""
        with np.errstate(over="ignore"):
            values = np.array(channels_first(array, 1, spec), dtype=np.float32, order="C")
        check_finite(values, spec)
        targets = torch.from_numpy(values).clamp_(min=0)
        return targets, (targets > 0).flatten(1).any(dim=1)

    def fit_ruler(self, targets: Tensor) -> Tensor:
        return torch.ones(())

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(B, 1, H, W), (B, 1, H, W) → (B,)"""
        check_grid(outputs, 1, targets)
        return mean_over_pixels((outputs - targets).abs()[:, 0], targets[:, 0] > 0)

    def divergences(self, outputs: Tensor, reference: Tensor) -> Tensor:
        return (outputs - reference).abs().mean(dim=(1, 2, 3))

    def scores(self, outputs: Tensor, targets: Tensor, ruler: Tensor) -> Tensor:
        return mean_over_pixels(within(outputs, targets, WITHIN)[:, 0], targets[:, 0] > 0)


def within(outputs: Tensor, targets: Tensor, delta: float) -> Tensor:
    """1 where max(d̂ / d, d / d̂) < delta, else 0, of any shape; an answer of 0 or below never is.

    Written as products, so that nothing is divided by 0; where nothing was measured it means nothing.
    """
    close = (outputs < delta * targets) & (targets < delta * outputs)
    return close.to(torch.float32)
