"""Targets are places among held-out losses: they move with these, and nothing else about them does."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.engine.digits_problem import CPU, digits, request
from tests.engine.runs import run
from worker.engine.forget_groups import ForgetGroup, ForgetPlan
from worker.engine.forget_loss import rank_table
from worker.engine.loss_rulers import KNOTS, LossRulers, fit_rulers
from worker.engine.measurement import Measurement
from worker.engine.unlearning import Unlearning

seeds = st.integers(0, 2**31)


def some(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def everything(losses: Tensor) -> Tensor:
    return torch.ones_like(losses) > 0


def rulers_of(holdout: Tensor) -> LossRulers:
    return fit_rulers(0.1 * holdout, holdout, everything(holdout), everything(holdout))


@given(seeds)
def test_losses_at_shares_are_the_inverse_of_shares_of_losses(seed: int) -> None:
    rulers = rulers_of(some(seed, 90, 3))
    columns = torch.randint(0, 3, (20,), generator=torch.Generator().manual_seed(seed))
    shares = torch.cat([torch.tensor([0.0, 1.0]), some(seed + 1, 18)])
    losses = rulers.losses(shares, columns)
    back = rulers.shares(losses[:, None].expand(-1, 3)).gather(1, columns[:, None]).flatten()
    torch.testing.assert_close(back, shares, atol=2e-4, rtol=0)
    beyond = rulers.losses(torch.tensor([-1.0, 2.0]), torch.tensor([0, 0]))
    assert torch.equal(beyond, rulers.knots[0, [0, KNOTS - 1]])


@given(seeds)
def test_rulers_moved_to_other_losses_are_those_fitted_to_them_in_the_same_units(seed: int) -> None:
    before, after = some(seed, 90, 2), 3 * some(seed + 1, 70, 2)
    held = some(seed + 2, 70, 2) > 0.3
    moved = rulers_of(before).moved_to(after, held)
    assert torch.equal(moved.scales, rulers_of(before).scales)
    for task in range(2):
        own = after[held[:, task], task][:, None]
        torch.testing.assert_close(moved.knots[task], rulers_of(own).knots[0])


def test_a_task_of_which_nothing_is_held_out_has_rulers_that_mean_nothing_and_are_finite() -> None:
    before = some(0, 90, 2)
    moved = rulers_of(before).moved_to(before, torch.tensor([True, False]).expand(90, 2))
    assert bool(moved.knots.isfinite().all())


@given(seeds, st.floats(0.1, 10), st.floats(0, 5))
def test_targets_keep_their_place_among_held_out_losses(seed: int, factor: float, shift: float) -> None:
    """Of two groups of one task, and one of another."""
    groups = [(0, [0, 3]), (0, [1]), (1, [0, 2, 3])]
    forgotten = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]]) > 0
    members = tuple(ForgetGroup(column, torch.tensor(rows), ("r",)) for column, rows in groups)
    plan = ForgetPlan(torch.arange(4), forgotten, ~forgotten, members)
    holdout = some(seed, 90, 2)
    before, after = rulers_of(holdout), rulers_of(factor * holdout + shift)
    targets = before.losses(some(seed + 1, 6), torch.tensor([0, 0, 0, 1, 1, 1]))
    table = rank_table(plan, some(seed + 2, 4, 2), targets, before, CPU)
    missing = table.missing(before)
    torch.testing.assert_close(table.targets, targets, atol=1e-4, rtol=1e-3)
    table.losses.mul_(factor).add_(shift)
    table.aim_by(after)
    torch.testing.assert_close(table.targets, factor * targets + shift, atol=1e-2 * factor, rtol=1e-3)
    torch.testing.assert_close(table.missing(after), missing, atol=2e-3, rtol=0)


def test_a_run_looks_at_the_holdout_as_it_goes_and_its_targets_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, calibration, _ = digits()
    seen: list[tuple[int, Tensor, LossRulers]] = []
    follow = Unlearning.follow

    def watched(self: Unlearning, held_out: Measurement) -> None:
        follow(self, held_out)
        seen.append((self.done, held_out.losses, self._loss.rulers))

    monkeypatch.setattr(Unlearning, "follow", watched)
    outcome = run(request(range(40), (0,)))
    assert [step for step, _, _ in seen] == [6, 10, 14, 18]
    assert outcome.steps == 20
    for _, losses, rulers in seen:
        assert len(losses) == len(calibration)
        torch.testing.assert_close(rulers.knots[:, 0], losses.min(dim=0).values)
    monkeypatch.setattr("worker.engine.interference_aware.FOLLOWED_AT", ())
    still = run(request(range(40), (0,)))
    assert outcome.forward_passes - still.forward_passes == 4 * len(calibration)
    assert outcome.residuals[0].reached != still.residuals[0].reached
