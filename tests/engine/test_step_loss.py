"""What is retained is held where it was: from both sides, from above more."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from worker.engine.step_loss import WEIGHT_BELOW, departures


@given(st.floats(0, 5), st.floats(-5, 5), st.floats(0, 5))
def test_a_loss_above_the_original_s_counts_whole_one_below_it_by_its_weight(
    had: float, change: float, divergence: float
) -> None:
    before = torch.full((2, 3), had)
    losses = (before + change).requires_grad_(True)
    found = departures(losses, before, torch.full((2, 3), divergence))
    weight = 1.0 if change >= 0 else WEIGHT_BELOW
    torch.testing.assert_close(found, torch.full((2, 3), weight * abs(change) + divergence))
    if abs(change) > 1e-3:
        found.sum().backward()
        assert losses.grad is not None
        torch.testing.assert_close(losses.grad, torch.full((2, 3), weight if change > 0 else -weight))


def test_what_stayed_as_it_was_has_not_departed() -> None:
    losses = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(departures(losses, losses, torch.zeros(4, 2)), torch.zeros(4, 2))
    assert 0 < WEIGHT_BELOW < 1
