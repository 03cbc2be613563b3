"""What is attacked, and with how much effort: tensors only, so that benchmarks can do without a service."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.engine.contract import Data, ForgetRequest, ForgetSet, Problem, Recipe, TaskSpec

ENOUGH = 50  # forgotten instances of a task; fewer decide nothing, here as in the gates


@dataclass(frozen=True)
class Subject:
    """A version, and the one that still remembers, if it is there.

    forgotten (N, T): supervision that this version has forgotten, and that was there. barred (N, T): all that
    no network may learn any more, what later versions have forgotten included. `calibration` and `audit` are
    the halves of the holdout.
    """

    version: nn.Module
    original: nn.Module | None
    build: Callable[[torch.Generator], nn.Module]
    tasks: tuple[TaskSpec, ...]
    recipe: Recipe
    train: Data
    calibration: Data
    audit: Data
    forgotten: Tensor
    barred: Tensor

    @property
    def attacked(self) -> tuple[int, ...]:
        """The columns of the tasks of which enough was forgotten."""
        counts = self.forgotten.sum(dim=0).tolist()
        return tuple(column for column, count in enumerate(counts) if count >= ENOUGH)

    @property
    def retained(self) -> Tensor:
        """(N, T)"""
        return self.train.present & ~self.barred

    def training_problem(self, left_out: Tensor) -> Problem:
        """To train by the recipe on what is retained, but for the instances `left_out` (N,)."""
        barred = self.barred | left_out[:, None]
        excluded = tuple(
            ForgetRequest(spec.name, barred[:, column].nonzero().flatten(), (column,))
            for column, spec in enumerate(self.tasks)
        )
        forget = ForgetSet(len(self.train), len(self.tasks), (), excluded)
        return Problem(
            self.version, self.build, self.tasks, self.train, self.calibration, forget, self.recipe
        )


@dataclass(frozen=True)
class Effort:
    """references: networks on half of the retained data, for RMIA. retrained: networks on all of it, as what
    forgetting should look like. orders: times that relearning is tried, each with a shuffle of its own."""

    references: int = 16
    retrained: int = 5
    orders: int = 3
    seed: int = 0
