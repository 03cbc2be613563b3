"""Percentile transfer, shrinkage, rank table and κ: properties and known values."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from worker.engine.contract import TaskSpec
from worker.engine.forget_loss import RankTable
from worker.engine.percentile import percentiles, quantiles, reliability, target_losses
from worker.engine.supervision import Task
from worker.engine.tasks import TASK_KINDS
from worker.engine.teacher import extrapolate, scores_along, smallest_kappa


def losses(seed: int, count: int) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed)) * 5


seeds = st.integers(0, 2**31)


@given(seeds, st.integers(1, 30), st.integers(1, 30))
def test_percentiles_equal_a_slow_count(seed: int, few: int, many: int) -> None:
    mine, among = losses(seed, few).round(), losses(seed + 1, many).round()
    slow = [((among < loss).sum() + 0.5 * (among == loss).sum()) / many for loss in mine]
    torch.testing.assert_close(percentiles(mine, among), torch.stack(slow).float())


@given(seeds, st.integers(1, 30))
def test_quantiles_undo_percentiles(seed: int, count: int) -> None:
    values = losses(seed, count)
    torch.testing.assert_close(quantiles(values, percentiles(values, values)), values, atol=1e-4, rtol=1e-4)


@given(seeds, st.integers(1, 30), st.floats(0, 1))
def test_targets_ascend_within_the_holdout_and_ignore_the_order_of_instances(
    seed: int, count: int, weight: float
) -> None:
    holdout = losses(seed, 40)
    percentile = torch.rand(count, generator=torch.Generator().manual_seed(seed))
    targets = target_losses(percentile, holdout, weight)
    assert torch.equal(targets, targets.sort().values)
    assert targets.min() >= holdout.min() - 1e-5
    assert targets.max() <= holdout.max() + 1e-5
    torch.testing.assert_close(target_losses(percentile.flip(0), holdout, weight), targets)


@given(seeds, st.integers(2, 60))
def test_reliability_is_that_of_the_ranks_and_never_negative(seed: int, count: int) -> None:
    original = losses(seed, count)
    assert reliability(original, original.exp()) == pytest.approx(1.0, abs=1e-5)
    assert reliability(original, -original) == 0.0
    assert reliability(original, torch.ones(count)) == 0.0
    assert 0 <= reliability(original, losses(seed + 1, count)) <= 1


@given(seeds, st.integers(2, 12), st.integers(1, 6))
def test_rank_table_equals_a_slow_sort_per_group(seed: int, instances: int, batch: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    last = torch.randint(0, 4, (instances, 2), generator=generator).float()
    group = torch.randint(-1, 3, (instances, 2), generator=generator)
    targets = torch.rand(instances * 2, generator=generator)
    starts = {
        number: int((group.flatten() < number).logical_and(group.flatten() >= 0).sum()) for number in range(3)
    }
    offset = torch.tensor([[starts.get(int(number), 0) for number in row] for row in group])
    positions = torch.randperm(instances, generator=generator)[:batch]
    now = torch.randint(0, 4, (len(positions), 2), generator=generator).float()
    none = torch.zeros(len(targets), dtype=torch.int64)
    table = RankTable(last.clone(), group, offset, -targets, none, torch.zeros(2), targets)
    found = table.look_up(positions, now)
    # Groups span columns here only if numbers repeat; a group's members are those of its column.
    expected_table = last.clone()
    expected_table[positions] = now
    for row, position in enumerate(positions.tolist()):
        for column in range(2):
            number = int(group[position, column])
            if number < 0:
                continue
            members = [other for other in range(instances) if int(group[other, column]) == number]
            members.sort(key=lambda other: (float(expected_table[other, column]), other))
            place = starts[number] + members.index(position)
            assert found.losses[row, column] == targets[place]
            assert found.shares[row, column] == -targets[place]


def test_kappa_is_the_smallest_that_reaches_the_goal() -> None:
    task = Task(TaskSpec("size", "regression", 1), TASK_KINDS["regression"], torch.ones(1), 1.0)
    targets = torch.zeros(60, 1)
    original, reference = torch.zeros(60, 1), torch.full((60, 1), 0.2)
    # Closeness at κ is 100 · (1 − .2 κ).
    metrics = scores_along(task, original, reference, targets) / 60 * 100
    assert smallest_kappa(metrics, 100.0) == 0.0
    assert smallest_kappa(metrics, 70.0) == pytest.approx(1.5)
    assert smallest_kappa(metrics, 5.0) == pytest.approx(4.8)
    assert smallest_kappa(metrics, -1.0) == 5.0  # nothing gets there: the first that gets closest
    torch.testing.assert_close(extrapolate(original, reference, 1.0), reference)
