"""What is never rehearsed is held by weights that stay near the original's."""

import copy
from math import exp

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from tests.engine.digits_problem import CPU, problem, request
from worker.engine import anchor
from worker.engine.anchor import MOST, PULL, REHEARSED, Anchor
from worker.engine.contract import Budget, Problem, Silent
from worker.engine.interference_aware import InterferenceAware

STEPS = 400


def moved_from(original: nn.Module) -> nn.Module:
    network = copy.deepcopy(original)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return network


def flat(network: nn.Module) -> Tensor:
    return parameters_to_vector(network.parameters()).detach()


@pytest.fixture
def original() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.75])
def test_a_run_shrinks_a_needless_move_by_what_its_draws_leave_unseen(
    original: nn.Module, share: float
) -> None:
    """share: of the rehearsal that makes the pull needless."""
    network = moved_from(original)
    before = flat(network) - flat(original)
    held = Anchor(network, original, steps=STEPS, draws=round(share * REHEARSED * 1000), pool=1000)
    for step in range(STEPS):
        held.pull(2.0 * (1.0 - (step + 0.5) / STEPS))  # falls to 0, as a rate does: 1 on average
    left = exp(-PULL * (1 - share))
    torch.testing.assert_close(flat(network) - flat(original), left * before, rtol=0.05, atol=1e-5)


def test_what_is_rehearsed_is_not_pulled_at_all(original: nn.Module) -> None:
    network = moved_from(original)
    before = flat(network)
    for draws in (REHEARSED * 50, 10_000):
        Anchor(network, original, steps=10, draws=draws, pool=50).pull(1.0)
    assert torch.equal(flat(network), before)


def test_only_what_forgetting_may_move_is_pulled(original: nn.Module) -> None:
    network = moved_from(original)
    network[1].requires_grad_(False)  # type: ignore[operator]
    before = copy.deepcopy(network)
    Anchor(network, original, steps=100, draws=0, pool=50).pull(1.0)
    assert not torch.equal(flat(network[0]), flat(before[0]))  # type: ignore[index]
    assert torch.equal(flat(network[1]), flat(before[1]))  # type: ignore[index]


def test_no_single_pull_undoes_a_move(original: nn.Module) -> None:
    network = moved_from(original)
    before = flat(network) - flat(original)
    Anchor(network, original, steps=1, draws=0, pool=50).pull(1.0)
    torch.testing.assert_close(flat(network) - flat(original), (1 - MOST) * before)


def test_a_run_that_sees_little_of_its_data_stays_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = problem(request(range(20), (0, 1, 2)))

    def distance(found: Problem) -> float:
        method = InterferenceAware()
        outcome = method(found, Budget(visits=3), seed=1, device=CPU, monitor=Silent())
        return float((flat(outcome.network) - flat(found.network)).norm())

    near = distance(asked)
    monkeypatch.setattr(anchor, "PULL", 0.0)
    assert near < 0.9 * distance(asked)
