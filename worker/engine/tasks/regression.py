"""Regression: `outputs` real values per instance."""

import numpy as np
import torch
from torch import Tensor

from worker.engine.contract import Refused, TaskSpec


class Regression:
    """Squared error, as loss and as divergence; closeness. A stored NaN means "no supervision".

    The divergence has the loss's unit: both are the same normal distribution's, up to one factor, and what
    is made of the two together does not depend on the unit that targets are given in.

    Closeness is 100 · mean_i max(0, 1 − |error_i| / σ), σ the standard deviation of the training targets:
    100 is exact, 0 is off by a standard deviation or more, and always answering the mean earns about 37
    where targets are normal. Preferred to R², which is unbounded below, is undone by one outlier, and uses
    another ruler (the subset's own variance) for every subset; and to the share within a tolerance, which
    is as bounded but jumps, so that a few instances near the edge decide it.
    """

    metric = "closeness"

    def read(self, array: np.ndarray, spec: TaskSpec) -> tuple[Tensor, Tensor]:
        shapes = [(len(array), spec.outputs)] + ([(len(array),)] if spec.outputs == 1 else [])
        if array.dtype.kind not in "fiu" or array.shape not in shapes:
            raise Refused(
                "data_target_invalid",
                f"Target {spec.name!r} is a regression of {spec.outputs} values: it must be an array of real "
                f"numbers of shape (N, {spec.outputs}), not {array.dtype} of shape {array.shape}.",
            )
        targets = torch.from_numpy(array.astype(np.float32)).reshape(len(array), spec.outputs)
        if bool(targets.isinf().any()):
            position = int(targets.isinf().any(dim=1).nonzero()[0])
            raise Refused(
                "data_not_finite",
                f"Target {spec.name!r} has infinite values (or values too large for 32 bits), the first at "
                f"position {position}; NaN alone means no supervision.",
            )
        present = ~targets.isnan().any(dim=1)
        return torch.where(present[:, None], targets, torch.zeros_like(targets)), present

    def fit_ruler(self, targets: Tensor) -> Tensor:
        """(n, outputs) → (outputs,) standard deviations; 1 where the targets do not vary."""
        if len(targets) < 2:
            return torch.ones(targets.shape[1])
        spread = targets.std(dim=0)
        return torch.where(spread > 0, spread, torch.ones_like(spread))

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean(dim=1)

    def divergences(self, outputs: Tensor, reference: Tensor) -> Tensor:
        return (outputs - reference).square().mean(dim=1)

    def scores(self, outputs: Tensor, targets: Tensor, ruler: Tensor) -> Tensor:
        return (1 - (outputs - targets).abs() / ruler).clamp(min=0).mean(dim=1)
