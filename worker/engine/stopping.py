"""Which goals are reached: when to stop, and what to report when the budget is spent."""

from math import sqrt

import torch
from torch import Tensor

from worker.engine.calibration import Calibration
from worker.engine.contract import ForgetRequest, Residual
from worker.engine.forget_groups import ForgetPlan
from worker.engine.measurement import Measurement
from worker.engine.supervision import Task

CONFIDENCE = 1.96


def goal_margin(spread: float, instances: int, holdout: int) -> float:
    """Half of the 95 % interval of a goal, in points: both the request and the holdout are samples.

    spread: standard deviation of one score in points. At least one instance's worth.
    """
    error = spread * sqrt(1 / instances + 1 / max(1, holdout))
    return max(CONFIDENCE * error, 100 / instances)


def residuals(
    plan: ForgetPlan,
    calibration: Calibration,
    requests: tuple[ForgetRequest, ...],
    tasks: tuple[Task, ...],
    measured: Measurement,
) -> tuple[Residual, ...]:
    """measured: the forget instances, in the order of `plan.rows`. One residual per request and task."""
    found: list[Residual] = []
    for number, group in enumerate(plan.groups):
        for reference in group.references:
            request = next(request for request in requests if request.reference == reference)
            mine = _members(plan, group.members, request)
            if not bool(mine.any()):
                continue
            column, count = group.column, int(mine.sum())
            goal, reached = float(calibration.goals[number]), measured.points(column, mine)
            margin = goal_margin(float(calibration.spread[column]), count, int(calibration.holdout[column]))
            found.append(
                Residual(reference, tasks[column].name, count, goal, reached, abs(reached - goal) <= margin)
            )
    return tuple(found)


def goals_reached(plan: ForgetPlan, calibration: Calibration, measured: Measurement) -> bool:
    """Every group's metric within a quarter of its goal's margin: close enough to stop before the budget."""
    for number, group in enumerate(plan.groups):
        column = group.column
        margin = goal_margin(
            float(calibration.spread[column]), len(group.members), int(calibration.holdout[column])
        )
        reached = measured.points(column, plan.members_of(group))
        if abs(reached - float(calibration.goals[number])) > margin / 4:
            return False
    return True


def _members(plan: ForgetPlan, members: Tensor, request: ForgetRequest) -> Tensor:
    mask = torch.zeros(len(plan.rows), dtype=torch.bool)
    mask[members[torch.isin(plan.rows[members], request.rows)]] = True
    return mask
