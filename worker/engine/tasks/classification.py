"""Classification: one of `outputs` classes per instance."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worker.engine.contract import Refused, TaskSpec


class Classification:
    """Cross-entropy; Kullback-Leibler divergence; accuracy. A stored target of -1 means "no supervision"."""

    metric = "accuracy"

    def read(self, array: np.ndarray, spec: TaskSpec) -> tuple[Tensor, Tensor]:
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise Refused(
                "data_target_invalid",
                f"Target {spec.name!r} is a classification: it must be a one-dimensional array of integers, "
                f"not {array.dtype} of shape {array.shape}.",
            )
        targets = torch.from_numpy(array.astype(np.int64))
        invalid = (targets < -1) | (targets >= spec.outputs)
        if bool(invalid.any()):
            position = int(invalid.nonzero()[0])
            raise Refused(
                "data_target_invalid",
                f"Target {spec.name!r} has {int(invalid.sum())} values outside 0..{spec.outputs - 1} "
                f"(-1 means no supervision); the first is {int(targets[position])} at position {position}.",
            )
        return targets.clamp(min=0), targets >= 0

    def fit_ruler(self, targets: Tensor) -> Tensor:
        return torch.ones(())

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, reduction="none")

    def divergences(self, outputs: Tensor, reference: Tensor) -> Tensor:
        """KL(reference ‖ outputs), both given as logits."""
        expected = functional.log_softmax(reference, dim=1)
        given = functional.log_softmax(outputs, dim=1)
        return (expected.exp() * (expected - given)).sum(dim=1)

    def scores(self, outputs: Tensor, targets: Tensor, ruler: Tensor) -> Tensor:
        return (outputs.argmax(dim=1) == targets).to(torch.float32)
