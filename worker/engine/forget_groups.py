"""What one job really forgets: the supervision that exists, in groups that share a goal."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.contract import ForgetSet, Refused, TaskSpec
from worker.engine.training import refuse_erased_tasks

OWN_GOAL = 50


@dataclass(frozen=True)
class ForgetGroup:
    """Supervision of one task that is forgotten towards one goal.

    members: (n,) positions in `ForgetPlan.rows`. references: of the requests that are in it.
    """

    column: int
    members: Tensor
    references: tuple[str, ...]


@dataclass(frozen=True)
class ForgetPlan:
    """rows: (F,) training rows, sorted. forgotten: (F, T). retained: (N, T). groups part `forgotten`."""

    rows: Tensor
    forgotten: Tensor
    retained: Tensor
    groups: tuple[ForgetGroup, ...]

    @property
    def unnamed(self) -> Tensor:
        """(F, T) labels that these instances keep."""
        return self.retained[self.rows]

    def members_of(self, group: ForgetGroup) -> Tensor:
        """(F,) mask of the group's instances."""
        mask = torch.zeros(len(self.rows), dtype=torch.bool)
        mask[group.members] = True
        return mask


def plan_forgetting(forget: ForgetSet, present: Tensor, specs: tuple[TaskSpec, ...]) -> ForgetPlan:
    """present (N, T). Supervision that does not exist, or was forgotten before, is not forgotten again.

    Requests of at least `OWN_GOAL` instances have a goal of their own; smaller ones share one per task, those
    that are forgotten again another one: they are not what the network knows by heart any more.
    Raises `Refused`: task_would_be_erased, forget_set_too_large.
    """
    retained = forget.retained(present)
    before = ForgetSet(forget.instances, forget.tasks, (), forget.excluded).retained(present)
    forgotten = before & ~retained
    rows = forgotten.any(dim=1).nonzero().flatten()
    if len(rows) > 0:
        refuse_erased_tasks(specs, retained)
        _refuse_majority(specs, forgotten, retained)
    position = torch.full((forget.instances,), -1, dtype=torch.int64)
    position[rows] = torch.arange(len(rows))
    groups: list[ForgetGroup] = []
    for column in range(len(specs)):
        left = forgotten[:, column].clone()
        small: dict[bool, list[tuple[str, Tensor]]] = {False: [], True: []}
        for request in forget.requests:
            if column not in request.tasks:
                continue
            mine = request.rows[left[request.rows]]
            left[mine] = False
            if len(mine) >= OWN_GOAL:
                groups.append(ForgetGroup(column, position[mine.sort().values], (request.reference,)))
            elif len(mine) > 0:
                small[request.again].append((request.reference, mine))
        for pool in (small[False], small[True]):
            if pool:
                rows_of_pool = torch.cat([mine for _, mine in pool]).sort().values
                names = tuple(name for name, _ in pool)
                groups.append(ForgetGroup(column, position[rows_of_pool], names))
    return ForgetPlan(rows, forgotten[rows], retained, tuple(groups))


def _refuse_majority(specs: tuple[TaskSpec, ...], forgotten: Tensor, retained: Tensor) -> None:
    for column, spec in enumerate(specs):
        gone, left = int(forgotten[:, column].sum()), int(retained[:, column].sum())
        if gone > left:
            raise Refused(
                "forget_set_too_large",
                f"Task {spec.name!r} would lose {gone} of its {gone + left} labels, more than it keeps: "
                "use the exact method, which retrains on what is left.",
            )
