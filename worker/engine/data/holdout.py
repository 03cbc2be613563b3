"""The holdout: data the network never trained on, half for calibration and half for the audit."""

from collections.abc import Sequence

import torch
from torch import Tensor

from worker.engine.contract import Batch, Data, Refused, TaskSpec
from worker.engine.randomness import derived_generator

MINIMUM_SUPERVISION = 50


class Subset:
    """Some rows of `Data`, as `Data`."""

    def __init__(self, data: Data, rows: Tensor) -> None:
        self._data = data
        self._rows = rows

    @property
    def ids(self) -> Sequence[str]:
        ids = self._data.ids
        return [ids[row] for row in self._rows.tolist()]

    @property
    def present(self) -> Tensor:
        return self._data.present[self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(self, rows: Tensor) -> Batch:
        return self._data.fetch(self._rows[rows])


def split_holdout(holdout: Data, tasks: tuple[TaskSpec, ...], seed: int) -> tuple[Subset, Subset]:
    """Disjoint halves (calibration, audit), each with half of every pattern of supervision.

    Raises `Refused("holdout_too_small")` unless every task has `MINIMUM_SUPERVISION` supervised instances.
    """
    present = holdout.present
    short = [
        f"{spec.name} has {int(present[:, column].sum())}"
        for column, spec in enumerate(tasks)
        if int(present[:, column].sum()) < MINIMUM_SUPERVISION
    ]
    if short:
        raise Refused(
            "holdout_too_small",
            f"The holdout needs at least {MINIMUM_SUPERVISION} instances with supervision for every task "
            f"(half to calibrate, half to audit): {', '.join(short)}.",
        )
    order = torch.randperm(len(holdout), generator=derived_generator(seed, "split_holdout"))
    pattern = (present.to(torch.int64) * 2 ** torch.arange(present.shape[1])).sum(dim=1)
    order = order[torch.argsort(pattern[order], stable=True)]
    return Subset(holdout, order[0::2].sort().values), Subset(holdout, order[1::2].sort().values)


def refuse_small_calibration(present: Tensor, tasks: tuple[TaskSpec, ...], named: Tensor) -> None:
    """present (n, T) of the calibration half, named (T,). Raises `Refused("holdout_too_small")` unless it has
    half of `MINIMUM_SUPERVISION` for every named task, as each half of a holdout that was split has."""
    least = MINIMUM_SUPERVISION // 2
    for spec, count, asked in zip(tasks, present.sum(dim=0).tolist(), named.tolist(), strict=True):
        if asked and count < least:
            raise Refused(
                "holdout_too_small",
                f"Task {spec.name!r} has {count} held-out instances to calibrate with; at least {least} are "
                f"needed, that is {MINIMUM_SUPERVISION} in a holdout that is split into halves.",
            )


def check_disjoint(train: Sequence[str], holdout: Sequence[str]) -> None:
    """Raises `Refused("holdout_overlaps_training")` when an id is in both."""
    shared = set(train) & set(holdout)
    if shared:
        raise Refused(
            "holdout_overlaps_training",
            f"{len(shared)} ids of the holdout are training data too; "
            "a holdout must be data that the network never trained on.",
        )
