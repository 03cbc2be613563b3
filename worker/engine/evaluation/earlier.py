"""What earlier jobs had forgotten, looked at once more: has any of it come back?

One entry per task and request of at least `OWN_FIGURES` instances; the smaller ones are looked at together.
Forward passes alone, over what was ever forgotten: nothing here grows with what was never asked for.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from worker.engine.contract import ForgetRequest
from worker.engine.evaluation.drift import before_and_after
from worker.engine.evaluation.intervals import Z
from worker.engine.measurement import Measurement
from worker.engine.supervision import Task

OWN_FIGURES = 50


def earlier_levels(
    tasks: tuple[Task, ...],
    requests: Sequence[ForgetRequest],
    rows: Tensor,
    old: Measurement,
    new: Measurement,
) -> list[dict[str, Any]]:
    """rows (n,): what `old` and `new` measured. `risen`: better on it than the base was, beyond chance.

    Requests that the base remembers (they were reopened) are left out.
    """
    standing = [request for request in requests if not request.remembered]
    place = torch.full((int(rows.max()) + 1 if len(rows) else 1,), -1, dtype=torch.int64)
    place[rows] = torch.arange(len(rows))
    found: list[dict[str, Any]] = []
    for column, task in enumerate(tasks):
        small: list[tuple[str, Tensor]] = []
        for request in standing:
            if column not in request.tasks:
                continue
            mine = place[request.rows]
            mine = mine[new.present[mine, column]]
            if len(mine) >= OWN_FIGURES:
                found.append(_level(task, column, [request.reference], mine, old, new))
            elif len(mine):
                small.append((request.reference, mine))
        if small:
            together = torch.unique(torch.cat([mine for _, mine in small]))
            found.append(_level(task, column, [name for name, _ in small], together, old, new))
    return found


def _level(
    task: Task, column: int, references: list[str], places: Tensor, old: Measurement, new: Measurement
) -> dict[str, Any]:
    mask = torch.zeros(len(new.losses), dtype=torch.bool)
    mask[places] = True
    return {
        "task": task.name,
        "references": references,
        "instances": len(places),
        "forget": before_and_after(old, new, column, mask),
        "risen": _risen(old.scores[places, column], new.scores[places, column]),
    }


def _risen(before: Tensor, after: Tensor) -> bool:
    """scores (n,) of the same instances: whether their mean grew, by the lower end of its 95 % interval."""
    grown = (after - before).double()
    if len(grown) < 2:
        return False
    return float(grown.mean()) - Z * float(grown.std()) / sqrt(len(grown)) > 0
