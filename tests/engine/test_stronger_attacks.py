"""RMIA, relearning and rounding: what each must find where the answer is known."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.digits_problem import CPU, INSTANCES, SPECS, digits, original, same_bits
from worker.engine.contract import Recipe, Silent
from worker.engine.evaluation.bootstrap import areas_under_curves, interval, resampled, true_positive_rates
from worker.engine.evaluation.membership import area_under_curve, true_positives
from worker.engine.evaluation.relearning import relearn
from worker.engine.evaluation.rmia import (
    average_likelihood,
    choose_a,
    likelihood_ratios,
    likelihoods,
    loss_scale,
    mean_over,
    rmia_scores,
)
from worker.engine.evaluation.rounding import ROUNDINGS, Rounding, rounded, share_unmoved
from worker.engine.measurement import measure
from worker.engine.networks import build_network
from worker.engine.progress import Progress
from worker.engine.supervision import bind_tasks

REFERENCES, MEMBERS = 8, 400


def losses_of(learned: torch.Tensor, gain: float, seed: int = 0) -> torch.Tensor:
    """(K, n) losses of networks: how hard an instance is varies far more than what learning it gains."""
    generator = torch.Generator().manual_seed(seed)
    hard = torch.rand(learned.shape[1], generator=generator) * 4
    noise = torch.rand(learned.shape, generator=generator) * 0.1
    return hard * torch.where(learned, 1 - gain, 1.0) + noise


def rmia_area(gain: float) -> tuple[float, float]:
    """(RMIA's, the loss's) area where one network has learned the first half of the instances."""
    halves = torch.rand(REFERENCES, 2 * MEMBERS, generator=torch.Generator().manual_seed(1)) < 0.5
    target = torch.arange(2 * MEMBERS)[None] < MEMBERS
    losses = losses_of(torch.cat([target, halves]), gain)
    given = likelihoods(losses, 1.0)
    outside = mean_over(given[1:], ~halves)
    known = ~outside.isnan()  # not what every reference has learned
    average = average_likelihood(outside, choose_a(given[1:], halves))
    ratios = likelihood_ratios(given[0], average)
    return (
        area_under_curve(-ratios[:MEMBERS][known[:MEMBERS]], -ratios[MEMBERS:][known[MEMBERS:]]),
        area_under_curve(losses[0, :MEMBERS], losses[0, MEMBERS:]),
    )


def test_rmia_finds_what_was_learned_where_the_loss_hardly_does() -> None:
    area, by_loss = rmia_area(gain=0.3)
    assert area > 0.95
    assert by_loss < 0.7


def test_rmia_finds_nothing_where_learning_left_nothing() -> None:
    area, _ = rmia_area(gain=0.0)
    assert abs(area - 0.5) < 0.07  # three standard errors at these sizes


def test_scores_are_the_papers_and_rank_as_the_ratios_do() -> None:
    generator = torch.Generator().manual_seed(3)
    attacked, average = torch.rand(2, 30, generator=generator)
    z_attacked, z_average = torch.rand(2, 20, generator=generator)
    for gamma in (1.0, 2.0):
        slow = [
            sum((p / q) / (pz / qz) >= gamma for pz, qz in zip(z_attacked, z_average, strict=True)) / 20
            for p, q in zip(attacked, average, strict=True)
        ]
        ratios = likelihood_ratios(attacked, average)
        scores = rmia_scores(ratios, likelihood_ratios(z_attacked, z_average), gamma)
        assert scores.tolist() == pytest.approx([float(score) for score in slow])
        assert bool((scores[ratios.argsort()].diff() >= 0).all())


def test_average_likelihood_by_hand() -> None:
    outside, inside = torch.tensor([0.2]), torch.tensor([0.8])
    assert float(average_likelihood(outside, 0.3, inside)) == pytest.approx(0.5)  # online: a plays no part
    assert float(average_likelihood(outside, 0.3)) == pytest.approx((1.3 * 0.2 + 0.7) / 2)
    assert float(average_likelihood(outside, 1.0)) == pytest.approx(0.2)
    assert loss_scale(SPECS[0], torch.tensor([5.0])) == 1.0  # cross-entropy is a log-likelihood
    assert float(likelihoods(torch.tensor([math.log(4)]), 1.0)) == pytest.approx(0.25)
    assert loss_scale(SPECS[2], torch.tensor([1.0, 3.0])) == 4.0  # squared errors: twice their mean


def test_the_same_seed_resamples_the_same_instances() -> None:
    generator = torch.Generator().manual_seed(5)
    low, high = torch.rand(40, generator=generator) - 0.3, torch.rand(120, generator=generator)
    members, others = resampled(low, high, seed=1)
    again, _ = resampled(2 * low, 2 * high, seed=1)
    assert torch.equal(2 * members, again)
    areas = areas_under_curves(members, others)
    slow = [area_under_curve(one, other) for one, other in zip(members, others, strict=True)]
    assert areas.tolist() == pytest.approx(slow)
    slow = [true_positives(one, other, 0.01) for one, other in zip(members, others, strict=True)]
    assert true_positive_rates(members, others, 0.01).tolist() == pytest.approx(slow)
    lowest, highest = interval(areas)
    assert lowest < area_under_curve(low, high) < highest


def relearned(network: torch.nn.Module, rows: int = 60) -> list[int | None]:
    train, _, _ = digits()
    tasks = bind_tasks(SPECS, train, {}, CPU)
    forgotten = torch.zeros(INSTANCES, len(SPECS), dtype=torch.bool)
    forgotten[:rows] = True
    asked = measure(
        original(), tasks, train, torch.arange(rows), device=CPU, progress=Progress(Silent(), 1), note=""
    )
    found = relearn(
        network,
        tasks,
        train,
        forgotten,
        [asked.points(column) for column in range(len(SPECS))],
        Recipe(learning_rate=4e-3),
        seed=0,
        device=CPU,
        progress=Progress(Silent(), 1),
    )
    return [one.instances for one in found]


def test_a_network_that_never_forgot_relearns_at_once_and_a_fresh_one_does_not() -> None:
    network = original()
    assert relearned(network) == [0, 0, 0]
    assert same_bits(network, original())
    fresh = build_network({"kind": "mlp", "inputs": 64, "hidden": [64]}, SPECS, torch.Generator())
    assert all(passes is None or passes >= 60 for passes in relearned(fresh))
    assert relearned(fresh) == relearned(fresh)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_rounding_keeps_the_form_is_small_and_changes_nothing_twice(rounding: Rounding) -> None:
    network = original()
    once = rounded(network, rounding)
    twice = rounded(once, rounding)
    assert same_bits(once, twice)
    assert not same_bits(network, once)
    step = {"int8": 1 / 254, "bfloat16": 1 / 256}[rounding]  # of a channel's largest weight
    for name, values in network.state_dict().items():
        made = once.state_dict()[name]
        assert (made.shape, made.dtype) == (values.shape, values.dtype)
        if values.dim() == 2:
            assert bool(((made - values).abs() <= step * 1.001 * values.abs().amax(1, keepdim=True)).all())
    assert share_unmoved(network, network, rounding) == 1.0


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=8))
def test_int8_is_idempotent_for_any_weights(values: list[float]) -> None:
    layer = torch.nn.Linear(len(values), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([values]))
    once = rounded(layer, "int8")
    assert torch.equal(rounded(once, "int8").weight, once.weight)  # type: ignore[arg-type]
    assert once.weight.unique().numel() <= 255  # type: ignore[union-attr,operator]


def test_a_change_below_a_rounding_step_is_lost() -> None:
    layer = torch.nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.copy_(rounded(layer, "int8").weight)  # type: ignore[arg-type]
    moved = copy.deepcopy(layer)
    with torch.no_grad():
        moved.weight.add_(1e-5)
    assert share_unmoved(layer, moved, "int8") == 1.0
    with torch.no_grad():
        moved.weight[0, 0] = -moved.weight[0, 0]
    assert share_unmoved(layer, moved, "int8") == 15 / 16
