"""What one forget group should look like afterwards: a goal for its metric, and a target for each loss."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.contract import Data
from worker.engine.forget_groups import ForgetGroup, ForgetPlan
from worker.engine.measurement import Measurement
from worker.engine.percentile import percentiles, reliability, target_losses
from worker.engine.supervision import Task
from worker.engine.teacher import KAPPAS, extrapolate, scores_along, smallest_kappa

POOLED_AT_ONCE = 64  # instances whose held outputs are looked at together


@dataclass(frozen=True)
class Seen:
    """What the original ("own"), the reference ("drifted") and the probe ("unseen") say: of the forget set,
    of `spare` retained rows that the reference did not see either, and of the holdout.
    """

    spare: Tensor
    own: Measurement
    own_spare: Measurement
    own_holdout: Measurement
    drifted: Measurement
    drifted_spare: Measurement
    unseen: Measurement
    unseen_holdout: Measurement


@dataclass(frozen=True)
class GroupGoal:
    """metric: points. reliability: 0..1, as far as the probe is believed. targets: (n,) losses, ascending."""

    metric: float
    reliability: float
    kappa: float
    targets: Tensor


def goal_of(
    group: ForgetGroup, task: Task, plan: ForgetPlan, data: Data, seen: Seen, *, pool: int, believed: bool
) -> GroupGoal:
    """data: the training data. pool: instances that κ is found on. believed: not at all, if not."""
    column = group.column
    held = seen.own_holdout.present[:, column]
    holdout, unseen_holdout = (
        measured.losses[held, column] for measured in (seen.own_holdout, seen.unseen_holdout)
    )
    percentile = percentiles(seen.unseen.losses[group.members, column], unseen_holdout)
    weight = reliability(holdout, unseen_holdout) if believed else 0.0
    typical = seen.own_holdout.points(column)
    shift = seen.unseen.points(column, plan.members_of(group)) - seen.unseen_holdout.points(column)
    metric = min(100.0, max(0.0, typical + weight * shift))
    kappa = _pooled_kappa(task, group, plan, data, seen, metric, typical, pool)
    return GroupGoal(metric, weight, kappa, target_losses(percentile, holdout, weight))


def teach(teacher: Mapping[str, Tensor], group: ForgetGroup, task: Task, seen: Seen, kappa: float) -> None:
    """Write z^κ of the group into the teacher's outputs, per task (F, width)."""
    taught = teacher[task.name]
    for members in torch.split(group.members, POOLED_AT_ONCE):
        places = members.to(taught.device)
        before, after = seen.own.outputs[task.name][places], seen.drifted.outputs[task.name][places]
        taught[places] = extrapolate(before.float(), after.float(), kappa).to(before.dtype)


def _pooled_kappa(
    task: Task,
    group: ForgetGroup,
    plan: ForgetPlan,
    data: Data,
    seen: Seen,
    goal: float,
    typical: float,
    pool: int,
) -> float:
    """κ on the group; a group smaller than the pool is filled up with retained instances that the reference
    did not see either, whose goal is the held-out metric."""
    spare = seen.spare
    fill = plan.retained[spare, group.column].nonzero().flatten()[: max(0, pool - len(group.members))]
    pooled = len(group.members) + len(fill)
    metrics = torch.zeros(len(KAPPAS), dtype=torch.float64)
    for places, rows, before, after in (
        (group.members, plan.rows, seen.own.outputs, seen.drifted.outputs),
        (fill, spare, seen.own_spare.outputs, seen.drifted_spare.outputs),
    ):
        for some in torch.split(places, POOLED_AT_ONCE):
            targets = data.fetch(rows[some]).targets[task.name].to(task.ruler.device)
            metrics += scores_along(task, _held(before, task, some), _held(after, task, some), targets)
    blended = (goal * len(group.members) + typical * len(fill)) / pooled
    return smallest_kappa(metrics * 100 / pooled, blended)


def _held(outputs: Mapping[str, Tensor], task: Task, places: Tensor) -> Tensor:
    """Some of the outputs that a measurement held, on the run's device and in full precision."""
    values = outputs[task.name]
    return values[places.to(values.device)].to(task.ruler.device, torch.float32)
