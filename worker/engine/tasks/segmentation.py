"""Semantic segmentation: one of `outputs` classes per pixel."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worker.engine.contract import Refused, TaskSpec
from worker.engine.tasks.pixels import Array, check_grid, mean_over_pixels

IGNORED = -1


class Segmentation:
    """Cross-entropy, Kullback-Leibler divergence and accuracy, each a mean over an instance's pixels.

    A stored label of -1 is a pixel without supervision; an instance of such pixels only has none at all.
    The metric is the literature's pixel accuracy, taken per image and then over images, so that an image
    counts once however many of its pixels are labelled. (Mean intersection over union belongs to a data
    set, not to an image: see `worker.engine.evaluation.dense_metrics`.)

    Targets stay in 16 bits until a loss wants them: labels are most of what a dense data set weighs.
    """

    metric = "pixel_accuracy"
    dense = True

    def read(self, array: Array, spec: TaskSpec) -> tuple[Tensor, Tensor]:
        """(N, H, W) whole numbers, stored as integers or as reals → (N, H, W) int16, and (N,) present."""
        if array.ndim != 3 or array.dtype.kind not in "fiu" or spec.outputs > np.iinfo(np.int16).max:
            raise Refused(
                "data_target_invalid",
                f"Target {spec.name!r} is a segmentation: it must be an array of whole numbers of shape "
                f"(N, H, W), not {array.dtype} of shape {array.shape}.",
            )
        valid = (array >= IGNORED) & (array < spec.outputs)
        if array.dtype.kind == "f":
            valid &= array == np.trunc(array)
        if not valid.all():
            position = int(np.argmin(valid.reshape(len(array), -1).all(axis=1)))
            first = array[position][~valid[position]].flat[0]
            raise Refused(
                "data_target_invalid",
                f"Target {spec.name!r} has {int((~valid).sum())} labels other than 0..{spec.outputs - 1} "
                f"and -1 (no supervision); the first is {first} at position {position}.",
            )
        targets = torch.from_numpy(array.astype(np.int16))
        return targets, (targets != IGNORED).flatten(1).any(dim=1)

    def fit_ruler(self, targets: Tensor) -> Tensor:
        return torch.ones(())

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(B, outputs, H, W) logits, (B, H, W) → (B,)"""
        check_grid(outputs, outputs.shape[1], targets)
        values = functional.cross_entropy(outputs, targets.long(), ignore_index=IGNORED, reduction="none")
        return mean_over_pixels(values, targets != IGNORED)

    def divergences(self, outputs: Tensor, reference: Tensor) -> Tensor:
        """KL(reference ‖ outputs) per pixel, both logits (B, outputs, H, W); the mean over all pixels,
        labelled or not: both networks have an answer everywhere."""
        expected = functional.log_softmax(reference, dim=1)
        given = functional.log_softmax(outputs, dim=1)
        return (expected.exp() * (expected - given)).sum(dim=1).mean(dim=(1, 2))

    def scores(self, outputs: Tensor, targets: Tensor, ruler: Tensor) -> Tensor:
        right = (outputs.argmax(dim=1) == targets).to(torch.float32)
        return mean_over_pixels(right, targets != IGNORED)
