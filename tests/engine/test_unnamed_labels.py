"""Where labels end that are kept, of instances that lose others: where the probe shows."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.engine.digits_problem import CPU, QUICK, SPECS, digits, original, problem, request, same_bits
from tests.engine.runs import run
from worker.engine import calibration
from worker.engine.contract import Silent
from worker.engine.forget_groups import plan_forgetting
from worker.engine.interference_aware import InterferenceAware
from worker.engine.measurement import measure
from worker.engine.progress import Progress
from worker.engine.snapshots import SnapshotClock
from worker.engine.supervision import bind_tasks
from worker.engine.unnamed_labels import beyond_chance, unnamed_targets

RETAINED = torch.linspace(0, 1, 501)[:, None]


def all_of(losses: Tensor) -> Tensor:
    return torch.ones_like(losses, dtype=torch.bool)


def ends(own: Tensor, probe: Tensor, ruler: Tensor = RETAINED, probes: Tensor = RETAINED) -> Tensor:
    return unnamed_targets(all_of(own), own, probe, all_of(ruler), ruler, probes)


@pytest.mark.parametrize("probe_unit", [1.0, 20.0], ids=["same unit", "another unit"])
def test_labels_go_to_their_places_under_the_probe(probe_unit: float) -> None:
    own = torch.linspace(0.7, 0.9, 41)[:, None]
    found = ends(own, (own - 0.6) * probe_unit, probes=RETAINED * probe_unit)
    torch.testing.assert_close(found, own - 0.6, atol=2e-3, rtol=0)


def test_they_are_dealt_out_by_the_rank_that_each_has() -> None:
    own = torch.linspace(0.7, 0.9, 41)[:, None]
    found = ends(own, own.flip(0) - 0.6)
    torch.testing.assert_close(found, own - 0.6, atol=2e-3, rtol=0)


def test_labels_at_the_places_that_they_had_stay_to_the_bit() -> None:
    own = torch.rand(30, 2, generator=torch.Generator().manual_seed(3))
    ruler = RETAINED.expand(-1, 2)
    assert torch.equal(ends(own, own, ruler, ruler), own)


def test_only_the_labels_that_are_meant_move_and_only_by_their_own_task() -> None:
    own, mask = torch.full((40, 2), 0.9), torch.zeros(40, 2, dtype=torch.bool)
    mask[:20, 0] = True
    own += torch.linspace(0, 0.01, 40)[:, None]
    ruler = RETAINED.expand(-1, 2)
    found = unnamed_targets(mask, own, own - 0.5, all_of(ruler), ruler, ruler)
    assert bool((found[:20, 0] < own[:20, 0] - 0.2).all())
    assert torch.equal(found[20:], own[20:])
    assert torch.equal(found[:, 1], own[:, 1])
    nothing_kept = unnamed_targets(mask, own, own - 0.5, ~all_of(ruler), ruler, ruler)
    assert torch.equal(nothing_kept, own)


@given(st.integers(1, 40), st.integers(0, 10**6), st.floats(0.01, 100))
def test_ends_lie_between_where_they_are_and_where_the_probe_has_them(
    count: int, seed: int, unit: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    own, probe = torch.rand(2, count, 1, generator=generator) * 3
    ruler, probes = torch.rand(2, 200, 1, generator=generator)
    found = ends(own, probe, ruler, probes)
    assert bool((found >= torch.minimum(own.min(), ruler.min())).all())
    assert bool(((found - own).abs() <= (ruler.max() - ruler.min()) + 1e-6).all())
    torch.testing.assert_close(
        ends(own * unit, probe, ruler * unit, probes), found * unit, rtol=1e-3, atol=1e-6
    )


def test_a_shift_that_chance_explains_is_no_shift() -> None:
    noise = torch.tensor([0.3, -0.3]).repeat(100)
    assert beyond_chance(torch.tensor([0.2]), noise) == 0.0
    assert beyond_chance(torch.full((50,), 0.2), noise) == pytest.approx(1 - 0.09 / 50 / 0.04)
    assert beyond_chance(torch.full((50,), -0.2), noise) == pytest.approx(1 - 0.09 / 50 / 0.04)
    assert beyond_chance(torch.zeros(4), noise) == 0.0
    assert beyond_chance(torch.full((4,), 0.2), torch.zeros(9)) == 1.0


def test_labels_that_the_probe_did_not_learn_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """160 samples of 200 instances: what the others' places are under the probe says nothing of them."""
    monkeypatch.setattr(calibration, "unnamed_targets", lambda mask, own, *_: own + mask)
    asked = problem(request(range(40), (0,)))
    plan = plan_forgetting(asked.forget, asked.train.present, asked.tasks)
    found = calibration.calibrate(
        original(), asked, plan, bind_tasks(SPECS, asked.train, {}, CPU), QUICK.calibration,
        seed=1, device=CPU, progress=Progress(Silent(), 1), clock=SnapshotClock(Silent(), "run"), saved={},
    )  # fmt: skip
    moved = (found.unnamed - found.losses).round().bool()
    assert not bool(moved[:, 0].any())
    assert torch.equal(moved[:, 1], moved[:, 2])
    assert 20 < int(moved[:, 1].sum()) < 40


def test_a_run_brings_them_there(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.arange(40)

    def after(*, by: float) -> Tensor:
        monkeypatch.setattr(calibration, "unnamed_targets", lambda mask, own, *_: own + by * mask)
        network = run(request(range(40), (0,)), method=MORE_PROBE).network
        return mean_losses(network, rows)

    lower, as_before, higher = after(by=-0.5), after(by=0.0), after(by=0.5)
    assert bool((lower[1:] < as_before[1:]).all())
    assert bool((as_before[1:] < higher[1:]).all())


def test_a_request_for_all_tasks_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(request(range(40), (0, 1, 2)))
    monkeypatch.setattr(calibration, "unnamed_targets", None)
    found = run(request(range(40), (0, 1, 2)))
    assert same_bits(found.network, expected.network)
    assert found.forward_passes == expected.forward_passes


MORE_PROBE: InterferenceAware = dataclasses.replace(
    QUICK, calibration=dataclasses.replace(QUICK.calibration, probe_samples=400)
)


def mean_losses(network: nn.Module, rows: Tensor) -> Tensor:
    data, _, _ = digits()
    tasks = bind_tasks(SPECS, data, {}, CPU)
    progress = Progress(Silent(), 1)
    return measure(network, tasks, data, rows, device=CPU, progress=progress, note="after").losses.mean(dim=0)
