"""Forgetting weighs more where it lags behind, and only there."""

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.engine.digits_problem import CPU, request
from tests.engine.runs import run
from worker.engine.forget_groups import ForgetGroup, ForgetPlan
from worker.engine.forget_loss import RankTable, rank_table
from worker.engine.forget_weights import GAIN, MOST, ForgetWeights
from worker.engine.loss_rulers import LossRulers, fit_rulers

seeds = st.integers(0, 2**31)
FORGOTTEN = torch.tensor([[1, 0, 1], [1, 0, 0], [0, 0, 1], [1, 0, 1]]) > 0


def some(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def table(losses: Tensor, targets: Tensor, rulers: LossRulers) -> RankTable:
    """Of two groups of the first task, none of the second, and one of the third."""
    groups = [(0, [0, 3]), (0, [1]), (2, [0, 2, 3])]
    members = tuple(ForgetGroup(column, torch.tensor(rows), ("r",)) for column, rows in groups)
    plan = ForgetPlan(torch.arange(4), FORGOTTEN, ~FORGOTTEN, members)
    return rank_table(plan, losses, targets, rulers, CPU)


def rulers_of(holdout: Tensor) -> LossRulers:
    return fit_rulers(0.1 * holdout, holdout, torch.ones_like(holdout) > 0, torch.ones_like(holdout) > 0)


@given(seeds)
def test_what_is_missing_is_the_distance_of_mean_shares_per_task(seed: int) -> None:
    rulers = rulers_of(some(seed, 60, 3))
    losses, targets = some(seed + 1, 4, 3), some(seed + 2, 6)
    found = table(losses, targets, rulers).missing(rulers)
    for column, own in ((0, targets[:3]), (2, targets[3:])):
        wanted = rulers.shares(own[:, None].expand(-1, 3))[:, column].mean()
        mine = rulers.shares(losses)[FORGOTTEN[:, column], column].mean()
        torch.testing.assert_close(found[column], wanted - mine)
    assert found[1] == 0  # nothing of it is forgotten


def test_nothing_is_missing_once_the_targets_are_reached() -> None:
    rulers = rulers_of(some(0, 60, 3))
    targets = some(1, 6)
    losses = torch.zeros(4, 3)
    losses[[0, 3], 0], losses[1, 0], losses[[0, 2, 3], 2] = targets[:2], targets[2], targets[3:]
    torch.testing.assert_close(table(losses, targets, rulers).missing(rulers), torch.zeros(3))


def test_a_factor_rises_on_what_is_missing_falls_beyond_the_target_and_stays_within_its_bounds() -> None:
    weights = ForgetWeights(3, CPU)
    torch.testing.assert_close(weights.factors, torch.ones(3))
    weights.ascend(torch.tensor([0.02, 0.0, -0.5]), passed=0.5)
    torch.testing.assert_close(weights.factors, torch.tensor([0.02 * GAIN * 0.5, 0.0, 0.0]).exp())
    weights.ascend(torch.tensor([-0.01, 1.0, 0.0]), passed=0.5)
    torch.testing.assert_close(weights.factors, torch.tensor([0.01 * GAIN * 0.5, log(MOST), 0.0]).exp())
    weights.reset()
    assert torch.equal(weights.factors, torch.ones(3))


@pytest.mark.parametrize("hold", [1.0, 2.0, 3.0])
def test_a_target_that_one_weight_stays_short_of_is_all_but_reached(hold: float) -> None:
    """A share x in 0..1 with target 1, and `hold` · x² to keep it at 0: with a weight of 1 both pulls are
    equal at 1 / (2 · hold)."""

    def end(*, ascending: bool, steps: int = 2000) -> float:
        weights, share = ForgetWeights(1, CPU), torch.zeros(1)
        for _ in range(steps):
            share = share + 0.01 * (weights.factors * (1.0 - share).sign() - 2 * hold * share)
            if ascending:
                weights.ascend(1.0 - share, 1 / steps)
        return float(share)

    assert end(ascending=False) == pytest.approx(1 / (2 * hold), abs=0.02)
    assert 0.85 < end(ascending=True) < 1.05


def test_a_run_weighs_what_lags_behind_more_and_forgets_more_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too short a run to reach its targets with one weight."""

    def run_it() -> tuple[float, float]:
        outcome = run(request(range(40), (0,)))
        return outcome.details["goals"][0]["forget_factor"], outcome.residuals[0].reached

    factor, reached = run_it()
    monkeypatch.setattr("worker.engine.forget_weights.GAIN", 0.0)
    same, with_one_weight = run_it()
    assert factor > 1.2
    assert same == 1.0
    assert reached < with_one_weight
