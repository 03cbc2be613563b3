"""The distance between the forget set's losses and those it would have, had it never been learned.

F is the number of forget instances, T of tasks, b of the instances in a step's batch.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from worker.engine.forget_groups import ForgetPlan
from worker.engine.loss_rulers import LossRulers

SHARE_WEIGHT = 2.0


@dataclass(frozen=True)
class Targets:
    """losses (b, T), and the shares (b, T) of held-out losses that are below each."""

    losses: Tensor
    shares: Tensor


@dataclass(frozen=True)
class RankTable:
    """Last losses and target losses of all forgotten supervision.

    losses (F, T): last seen. group (F, T): number of the group that an entry belongs to, −1 if it is not
    forgotten. offset (F, T): where its group's targets begin in `shares` (Σ n,), ascending per group, which
    are shares of held-out losses; columns (Σ n,): the tasks that they are of. wanted (T,): their sums per
    task. targets (Σ n,): the losses at these shares, by rulers that may move.
    """

    losses: Tensor
    group: Tensor
    offset: Tensor
    shares: Tensor
    columns: Tensor
    wanted: Tensor
    targets: Tensor

    @cached_property
    def _order(self) -> Tensor:
        return torch.arange(len(self.losses), device=self.losses.device)[:, None]

    def look_up(self, positions: Tensor, losses: Tensor) -> Targets:
        """(b,), (b, T) detached losses → the target of each one's rank within its group.

        Writes the losses into the table first. Entries that are not forgotten mean nothing.
        """
        self.losses[positions] = losses
        same = self.group[positions][:, None, :] == self.group
        mine, earlier = losses[:, None, :], self._order < positions[:, None, None]
        before = (self.losses < mine) | ((self.losses == mine) & earlier)
        rank = (same & before).sum(dim=1)
        places = (self.offset[positions] + rank).clamp(0, len(self.targets) - 1)
        return Targets(self.targets[places], self.shares[places])

    def move_targets(self, rulers: LossRulers) -> None:
        """To the losses that have the targets' shares by these rulers."""
        self.targets.copy_(rulers.losses(self.shares, self.columns))

    def missing(self, rulers: LossRulers) -> Tensor:
        """(T,) by how much the mean share of the last losses is below that of their targets."""
        forgotten = self.group >= 0
        shares = rulers.shares(self.losses).masked_fill(~forgotten, 0.0)
        return (self.wanted - shares.sum(dim=0)) / forgotten.sum(dim=0).clamp(min=1)


def rank_table(
    plan: ForgetPlan, losses: Tensor, targets: Tensor, rulers: LossRulers, device: torch.device
) -> RankTable:
    """losses (F, T) of the original, copied; targets (Σ n,) as `RankTable` has them, in the groups' order."""
    group = torch.full(plan.forgotten.shape, -1, dtype=torch.int64)
    offset = torch.zeros(plan.forgotten.shape, dtype=torch.int64)
    columns = torch.zeros(len(targets), dtype=torch.int64)
    start = 0
    for number, members in enumerate(plan.groups):
        group[members.members, members.column] = number
        offset[members.members, members.column] = start
        columns[start : start + len(members.members)] = members.column
        start += len(members.members)
    targets, columns = targets.clone().to(device), columns.to(device)
    every = rulers.shares(targets[:, None].expand(-1, plan.forgotten.shape[1]))
    shares = every.gather(1, columns[:, None]).flatten()
    wanted = torch.stack([shares[columns == task].sum() for task in range(plan.forgotten.shape[1])])
    table = RankTable(
        losses.clone().to(device), group.to(device), offset.to(device), shares, columns, wanted, targets
    )
    table.move_targets(rulers)  # as they will be found again when a run is taken up, to the bit
    return table


def forget_distances(losses: Tensor, targets: Targets, divergences: Tensor, rulers: LossRulers) -> Tensor:
    """(b, T) each → (b, T): how far each loss is from its target, in units of the task's own memory and in
    shares of the held-out losses, and how far the outputs are from the teacher's."""
    apart = (rulers.shares(losses) - targets.shares).abs()
    return ((losses - targets.losses).abs() + divergences) / rulers.scales + SHARE_WEIGHT * apart
