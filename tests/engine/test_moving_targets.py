"""Targets are places among held-out losses: they move with these, and nothing else about them does."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.engine import baseline_bank, baseline_methods
from tests.engine.digits_problem import CPU, digits, request, same_bits
from tests.engine.runs import BUDGET, run
from worker.engine.calibration import HOLDOUT_SAMPLE, holdout_sample
from worker.engine.contract import Budget, Recipe, Refused, Silent
from worker.engine.forget_groups import ForgetGroup, ForgetPlan
from worker.engine.forget_loss import rank_table
from worker.engine.interference_aware import InterferenceAware
from worker.engine.looks import Looks
from worker.engine.loss_rulers import KNOTS, LossRulers, fit_rulers
from worker.engine.measurement import Measurement, measure
from worker.engine.progress import Progress
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
    table.move_targets(after)
    torch.testing.assert_close(table.targets, factor * targets + shift, atol=1e-2 * factor, rtol=1e-3)
    torch.testing.assert_close(table.missing(after), missing, atol=2e-3, rtol=0)


def test_the_sample_of_the_holdout_has_what_is_seldom_labelled() -> None:
    """Of tasks that are forgotten; and it is all of a small one."""
    present = some(0, 5000, 3) > 0.5
    present[:, 1:] = False
    present[4000:4030, 1:] = True
    forgotten = torch.tensor([[True, True, False]])
    plan = ForgetPlan(torch.arange(1), forgotten, ~forgotten, ())
    rows = holdout_sample(present, plan, 7)
    assert torch.equal(rows, rows.unique())
    assert HOLDOUT_SAMPLE <= len(rows) <= HOLDOUT_SAMPLE + 30
    assert int(present[rows, 1].sum()) == 30
    assert torch.equal(rows, holdout_sample(present, plan, 7))
    labelled = holdout_sample(everything(some(0, 5000, 3)), plan, 7)
    assert len(labelled) == HOLDOUT_SAMPLE
    assert torch.equal(holdout_sample(present[:900], plan, 7), torch.arange(900))


def test_a_run_looks_at_the_calibration_half_as_it_goes_and_its_targets_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, calibration, _ = digits()
    seen: list[tuple[int, LossRulers]] = []
    follow = Unlearning.follow

    def watched(self: Unlearning, held_out: Measurement) -> None:
        again = measure(
            self.network, self._tasks, calibration, torch.arange(len(calibration)),
            device=CPU, progress=Progress(Silent(), 1), note="",
        )  # fmt: skip
        assert torch.equal(held_out.losses, again.losses)
        follow(self, held_out)
        knots = self._loss.rulers.knots
        torch.testing.assert_close(knots[:, 0], again.losses.min(dim=0).values)
        seen.append((self.done, self._loss.rulers))

    monkeypatch.setattr(Unlearning, "follow", watched)
    outcome = run(request(range(40), (0,)))
    assert outcome.steps == 20
    assert [step for step, _ in seen] == [6, 10, 14, 18]
    monkeypatch.setattr("worker.engine.looks.FOLLOWED_AT", ())
    still = run(request(range(40), (0,)))
    assert outcome.forward_passes - still.forward_passes == 4 * len(calibration)
    assert not same_bits(outcome.network, still.network)


def test_what_is_not_labelled_in_the_holdout_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fillers stand where labels are missing, and some are far off."""
    job = baseline_bank.problem((range(12), (0, 1)))
    rows = job.calibration
    missing = torch.arange(len(rows)) % 2 == 0
    rows.targets["size"][missing] = 1e6
    rows.present[missing, 1] = False
    found: list[Tensor] = []
    follow = Unlearning.follow

    def watched(self: Unlearning, held_out: Measurement) -> None:
        follow(self, held_out)
        found.append(self._loss.rulers.knots[1, -1])

    monkeypatch.setattr(Unlearning, "follow", watched)
    baseline_methods.GUARDED(job, BUDGET, seed=1, device=CPU, monitor=Silent())
    assert len(found) == 4
    assert all(float(highest) < 1e3 for highest in found)


def test_a_held_out_loss_that_is_not_finite_refuses_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the last look of all, too, after which no step's losses would show it."""
    follow = Unlearning.follow

    def broken(self: Unlearning, held_out: Measurement) -> None:
        if self.done == self.steps - 1:
            held_out.losses[0, 0] = float("inf")
        follow(self, held_out)

    monkeypatch.setattr("worker.engine.looks.FOLLOWED_AT", (0.95,))
    monkeypatch.setattr(Unlearning, "follow", broken)
    with pytest.raises(Refused) as refusal:
        run(request(range(40), (0,)))
    assert refusal.value.code == "loss_not_finite"


def test_with_the_network_its_targets_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen of a network that was then thrown away says nothing of the one that came back."""
    step, put_back = Unlearning.step, list[bool]()

    def watched(self: Unlearning) -> None:
        violations, knots = self.region.violations, self._loss.rulers.knots
        step(self)
        if self.region.violations > violations:
            put_back.append(not torch.equal(knots, self._kept_rulers.knots))
            assert torch.equal(self._loss.rulers.knots, self._kept_rulers.knots)
            table = self._loss._table
            assert torch.equal(table.targets, self._loss.rulers.losses(table.shares, table.columns))

    monkeypatch.setattr(Unlearning, "step", watched)
    asked = replace(baseline_bank.problem((range(12), (0, 1))), recipe=Recipe(learning_rate=0.5, epochs=1))
    monkeypatch.setattr("worker.engine.looks.FOLLOWED_AT", tuple(share / 20 for share in range(20)))
    InterferenceAware(calibration=baseline_methods.GUARDED.calibration)(
        asked, Budget(visits=8), seed=1, device=CPU, monitor=Silent()
    )
    assert any(put_back)


@pytest.mark.parametrize(
    ("steps", "follows", "checks"),
    [(100, [30, 50, 70, 90], [90, 95]), (20, [6, 10, 14, 18], [18, 19]), (2, [1], []), (1, [], [])],
)
def test_when_a_run_looks(steps: int, follows: list[int], checks: list[int]) -> None:
    looks, every = Looks(steps), range(1, steps + 1)
    assert [step for step in every if looks.follows(step)] == follows
    assert [step for step in every if looks.checks(step)] == checks
    assert [looks.follows_until(step) for step in every] == [
        sum(at <= step for at in follows) for step in every
    ]
    assert looks.checks_until(steps) == len(checks)
