"""Rulers of losses: units do not matter, ranks do, and gradients point to the target."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from worker.engine.forget_loss import Targets, forget_distances
from worker.engine.loss_rulers import SMALLEST_GAP, LossRulers, fit_rulers

seeds = st.integers(0, 2**31)


def losses(seed: int, count: int, tasks: int = 2) -> Tensor:
    return torch.rand(count, tasks, generator=torch.Generator().manual_seed(seed)) * 3


def fitted(retained: Tensor, holdout: Tensor) -> LossRulers:
    return fit_rulers(retained, holdout, torch.ones_like(retained) > 0, torch.ones_like(holdout) > 0)


def with_shares(targets: Tensor, rulers: LossRulers) -> Targets:
    return Targets(targets, rulers.shares(targets))


@given(seeds, st.floats(1e-3, 1e3))
def test_a_unit_changes_neither_shares_nor_distances(seed: int, unit: float) -> None:
    holdout, mine, targets = losses(seed, 80), losses(seed + 1, 9), losses(seed + 2, 9)
    one, other = fitted(0.1 * holdout, holdout), fitted(0.1 * unit * holdout, unit * holdout)
    torch.testing.assert_close(other.shares(unit * mine), one.shares(mine), atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(
        forget_distances(unit * mine, with_shares(unit * targets, other), unit * mine, other),
        forget_distances(mine, with_shares(targets, one), mine, one),
        atol=1e-2,
        rtol=1e-2,
    )


@given(seeds)
def test_shares_ascend_from_none_to_all_and_follow_a_slow_count(seed: int) -> None:
    holdout = losses(seed, 400)
    rulers = fitted(0.1 * holdout, holdout)
    grid = torch.linspace(-1, 4, 50)[:, None].expand(50, 2)
    shares = rulers.shares(grid)
    assert bool((shares.diff(dim=0) >= 0).all())
    assert bool((shares[0] == 0).all())
    assert bool((shares[-1] == 1).all())
    slow = (holdout[None] < grid[:, None]).float().mean(dim=1)
    torch.testing.assert_close(shares, slow, atol=0.05, rtol=0)


def test_a_gap_is_what_was_memorised_and_never_nothing() -> None:
    holdout = torch.full((10, 3), 2.0)
    retained = torch.tensor([[0.5, 2.0, 0.0]]).expand(10, 3)
    mask = torch.ones(10, 3) > 0
    rulers = fit_rulers(retained, holdout, mask & torch.tensor([True, True, False]), mask)
    torch.testing.assert_close(rulers.scales[:2], torch.tensor([1.5, 2.0 * SMALLEST_GAP]))
    assert bool(rulers.scales.isfinite().all())
    assert bool((rulers.knots.diff(dim=1) > 0).all())


def test_the_gradient_leads_to_the_target_from_both_sides_also_among_tiny_losses() -> None:
    holdout = torch.cat([torch.full((50, 1), 1e-4) * torch.arange(1, 51)[:, None], torch.full((50, 1), 3.0)])
    rulers = fitted(torch.zeros(10, 1), holdout)
    for start, sign in ((2e-4, -1.0), (4.5e-3, 1.0)):
        mine = torch.full((1, 1), start, requires_grad=True)
        target = with_shares(torch.full((1, 1), 2.5e-3), rulers)
        forget_distances(mine, target, torch.zeros(1, 1), rulers).sum().backward()
        assert mine.grad is not None
        assert float(mine.grad) * sign > 10
