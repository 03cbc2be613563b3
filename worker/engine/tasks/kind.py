"""What the engine must know about a kind of task."""

from typing import Protocol

import numpy as np
from torch import Tensor

from worker.engine.contract import TaskSpec


class TaskKind(Protocol):
    """One kind of task. All methods work per instance: nothing is averaged over the batch.

    B is the batch, `outputs` the head's width. A `ruler` is what the kind's metric measures with, such as
    the spread of the targets; it is fitted once per run, on the training data.
    """

    @property
    def metric(self) -> str:
        """The metric's name, as reports print it. Metrics are in points, 0 to 100, higher is better."""
        ...

    def read(self, array: np.ndarray, spec: TaskSpec) -> tuple[Tensor, Tensor]:
        """array (N, ...) as it was stored → targets (N, ...) without gaps, and present (N,) bool.

        Raises `Refused("data_target_invalid")`.
        """
        ...

    def fit_ruler(self, targets: Tensor) -> Tensor:
        """targets (n, ...) → the ruler."""
        ...

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(B, outputs), (B, ...) → (B,) training losses."""
        ...

    def divergences(self, outputs: Tensor, reference: Tensor) -> Tensor:
        """D_t: (B, outputs), (B, outputs) → (B,); 0 where both say the same."""
        ...

    def scores(self, outputs: Tensor, targets: Tensor, ruler: Tensor) -> Tensor:
        """(B, outputs), (B, ...) → (B,) in 0..1; a metric is 100 times their mean."""
        ...
