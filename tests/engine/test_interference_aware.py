"""What must hold of every unlearning run, whatever it is asked."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from tests.engine import baseline_bank, baseline_methods
from tests.engine.digits_problem import (
    CPU,
    INSTANCES,
    QUICK,
    SPECS,
    Held,
    build_cnn,
    digits,
    original,
    problem,
    request,
    same_bits,
)
from worker.engine.contract import (
    Batch,
    Budget,
    ForgetRequest,
    ForgetSet,
    Interrupted,
    Outcome,
    Recipe,
    Refused,
    Silent,
)
from worker.engine.evaluation import evaluate
from worker.engine.interference_aware import InterferenceAware
from worker.engine.original_answers import RECURRING
from worker.engine.randomness import derived_generator
from worker.engine.supervision import RULER_SAMPLE
from worker.engine.task_subspaces import MICROBATCHES
from worker.engine.trust_region import Guards
from worker.engine.unlearning import FEWEST_ROUNDS, RETAIN_RATIO, planned_steps, rate_share

BUDGET = Budget(visits=4)


class Recorder(Silent):
    """Keeps snapshots as a service would (copied), and may interrupt after a number of calls."""

    def __init__(self, interrupt_after: int | None = None, saved: Mapping[str, Any] | None = None) -> None:
        self.calls: list[tuple[int, int, str]] = []
        self.saved = saved
        self.interrupt_after = interrupt_after

    def progress(self, done: int, total: int, note: str) -> None:
        self.calls.append((done, total, note))
        if self.interrupt_after is not None and len(self.calls) >= self.interrupt_after:
            raise Interrupted

    def save(self, snapshot: Mapping[str, Any]) -> None:
        self.saved = copy.deepcopy(snapshot)

    def resume(self) -> Mapping[str, Any] | None:
        return copy.deepcopy(self.saved)


def run(*requests: ForgetRequest, seed: int = 1, method: InterferenceAware = QUICK, **changes: Any) -> Any:
    monitor = changes.pop("monitor", Silent())
    return method(problem(*requests, **changes), BUDGET, seed=seed, device=CPU, monitor=monitor)


def test_same_seed_same_bits_whatever_the_order_of_instances_and_another_seed_differs() -> None:
    rows = list(range(5, 30))
    first = run(request(rows, (0, 2)))
    again = run(request(rows[::-1], (0, 2)))
    other = run(request(rows, (0, 2)), seed=2)
    assert same_bits(first.network, again.network)
    assert not same_bits(first.network, other.network)


def test_on_the_cpu_bfloat16_gives_the_bits_of_float32() -> None:
    """As `worker.engine.forward` promises: the precision is an accelerator's."""
    wanted = request(range(5, 30), (0, 2))
    expected = run(wanted)
    found = run(wanted, method=dataclasses.replace(QUICK, precision="bfloat16"))
    assert same_bits(found.network, expected.network)
    assert found.details == expected.details


@pytest.mark.parametrize("guards", ["never", "always"])
def test_the_order_of_tasks_does_not_matter(guards: Guards) -> None:
    """Up to rounding."""
    method, rows = dataclasses.replace(QUICK, guards=guards), range(5, 30)
    columns = [2, 0, 1]
    data, calibration, _ = digits()
    found = run(request(rows, (0, 1)), request(range(2), (2,), "second"), method=method)
    other = run(
        request(rows, (1, 2)), request(range(2), (0,), "second"),
        method=method, tasks=tuple(SPECS[column] for column in columns),
        train=data.reordered(columns), calibration=calibration.reordered(columns),  # type: ignore[attr-defined]
    )  # fmt: skip
    ends = [torch.cat([p.detach().flatten() for p in o.network.parameters()]) for o in (found, other)]
    start = torch.cat([p.detach().flatten() for p in original().parameters()])
    assert (ends[0] - ends[1]).norm() < 1e-4 * (ends[0] - start).norm()


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(request([1, 2], (0,)))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_given_network_is_not_changed() -> None:
    given = original()
    run(request([1, 2, 3], (0, 1, 2)), network=given)
    assert same_bits(given, original())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in given.parameters())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"requests": ()}, id="no request"),
        pytest.param({"requests": (request([], (0,)),)}, id="no instance"),
        pytest.param(
            {"requests": (request([3], (1,)),), "excluded": (request([3], (1,), "before"),)},
            id="forgotten before",
        ),
    ],
)
def test_nothing_to_forget_gives_the_same_bits(changes: dict[str, Any]) -> None:
    outcome = run(*changes.pop("requests"), **changes)
    assert same_bits(outcome.network, original())
    assert outcome.steps == 0
    assert outcome.residuals == ()


def test_instances_without_supervision_have_nothing_to_forget() -> None:
    data, _, _ = digits()
    assert isinstance(data, Held)
    bare = data.without(torch.arange(0, 20), 1)
    outcome = run(request(range(20), (1,)), train=bare)
    assert same_bits(outcome.network, original())
    mixed = run(request(range(10, 30), (1,)), train=bare)
    assert [residual.instances for residual in mixed.residuals] == [10]


@pytest.mark.parametrize("named", [(0,), (1,), (2,), (0, 2)])
def test_heads_of_unnamed_tasks_keep_their_bits_and_the_rest_moves(named: tuple[int, ...]) -> None:
    outcome = run(request(range(12), named))
    for column, spec in enumerate(SPECS):
        same = same_bits(outcome.network.heads[spec.name], original().heads[spec.name])  # type: ignore[index, union-attr]
        assert same == (column not in named)
    assert not same_bits(outcome.network.shared, original().shared)  # type: ignore[arg-type]


@pytest.mark.parametrize(("aim", "alike"), [("retraining", False), ("holdout", True)])
def test_aimed_at_the_holdout_every_request_has_the_same_goal(
    aim: Literal["retraining", "holdout"], alike: bool
) -> None:
    settings = dataclasses.replace(QUICK.calibration, aim=aim)
    method = dataclasses.replace(QUICK, calibration=settings)
    outcome = run(request(range(50), (0,)), request(range(50, 100), (0,), "second"), method=method)
    goals = {entry["goal"] for entry in outcome.details["goals"]}
    assert (len(goals) == 1) == alike


def test_one_instance() -> None:
    outcome = run(request([17], (0, 1, 2)))
    assert {residual.task for residual in outcome.residuals} == {"digit", "turn", "ink"}
    assert outcome.visits == BUDGET.visits * FEWEST_ROUNDS
    assert all(bool(parameter.isfinite().all()) for parameter in outcome.network.parameters())


def test_several_requests_with_different_tasks_and_a_common_instance() -> None:
    outcome = run(
        request(range(60), (0,), "large"),
        request(range(55, 65), (0, 2), "small"),
        request([70], (1,), "single"),
    )
    found = {(residual.reference, residual.task): residual.instances for residual in outcome.residuals}
    assert found == {
        ("large", "digit"): 60,
        ("small", "digit"): 5,
        ("small", "ink"): 10,
        ("single", "turn"): 1,
    }
    assert {(goal["task"], goal["instances"]) for goal in outcome.details["goals"]} == {
        ("digit", 60),
        ("digit", 5),
        ("ink", 10),
        ("turn", 1),
    }


def test_cost_is_counted() -> None:
    outcome = run(request(range(32), (0,)))
    assert outcome.steps == 4 * 32 // 8
    assert outcome.passes == 80 + 160 + outcome.steps * (8 + 16)


@dataclasses.dataclass
class Counting:
    """So many rows, which are those of a small bank over and over; only labels' presence is held for each."""

    size: int
    rows: int = 0

    def __post_init__(self) -> None:
        self.bank = baseline_bank.make_rows(baseline_bank.TRAIN, 2)
        self.ids = range(self.size)
        self.present = torch.ones(self.size, len(baseline_bank.TASKS), dtype=torch.bool)

    def __len__(self) -> int:
        return self.size

    def fetch(self, rows: Tensor) -> Batch:
        self.rows += len(rows)
        return self.bank.fetch(rows % baseline_bank.TRAIN)


@pytest.mark.parametrize("guards", ["when_needed", "always"])
def test_cost_does_not_grow_with_the_data(guards: Guards) -> None:
    """From forgetting to the report, the rows that are fetched are as many of ten times the data."""
    method, found = dataclasses.replace(baseline_methods.GUARDED, guards=guards), []
    for size in (3_000, 30_000):
        asked, data = baseline_bank.problem(), Counting(size)
        forget = ForgetSet(size, 3, (ForgetRequest("request", torch.arange(12), (0, 1)),))
        asked = dataclasses.replace(asked, train=data, forget=forget)
        outcome = method(asked, Budget(visits=2), seed=1, device=CPU, monitor=Silent())
        unlearned = data.rows
        evaluate(
            asked.network, outcome.network, tasks=asked.tasks, train=data, audit=asked.calibration,
            forget=forget, seed=0, device=CPU, monitor=Silent(), retain_sample=100,
        )  # fmt: skip
        found.append((outcome.passes, outcome.forward_passes, unlearned, data.rows - unlearned))
    assert found[0] == found[1]
    assert 0 < found[0][2] < RULER_SAMPLE + 2000
    assert 0 < found[0][3] < RULER_SAMPLE + 500


def test_a_larger_scale_means_more_visits() -> None:
    scaled = QUICK(
        problem(request(range(16), (0,))), Budget(visits=4, scale=2.0), seed=1, device=CPU, monitor=Silent()
    )
    assert scaled.visits > 4


@pytest.mark.parametrize("share", [0.25, 0.5, 0.6, 0.95])
def test_a_resumed_run_ends_with_the_same_bits(share: float) -> None:
    """Interrupted while the reference, the probe or the unlearning runs; a snapshot after every step."""
    eager = InterferenceAware(calibration=QUICK.calibration, snapshot_seconds=0.0)
    asked = request(range(20), (0, 1))
    whole = Recorder()
    expected = run(asked, method=eager, monitor=whole)
    broken = Recorder(interrupt_after=int(share * len(whole.calls)))
    with pytest.raises(Interrupted):
        run(asked, method=eager, monitor=broken)
    assert broken.saved is not None
    resumed = Recorder(saved=broken.saved)
    outcome = run(asked, method=eager, monitor=resumed)
    assert same_bits(outcome.network, expected.network)
    assert outcome.residuals == expected.residuals
    assert outcome.passes == expected.passes
    assert len(resumed.calls) < len(whole.calls)


@pytest.mark.parametrize("stressed", [False, True])
def test_a_run_resumed_under_its_guards_ends_with_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, stressed: bool
) -> None:
    """Engaged from the first step on, with bases found anew every fourth; or by violations, after which the
    network and its momentum were put back. The interruption falls between two bases."""
    monkeypatch.setattr("worker.engine.unlearning.BASIS_LIFETIME", 4)
    eager = dataclasses.replace(
        baseline_methods.GUARDED, guards="when_needed" if stressed else "always", snapshot_seconds=0.0
    )
    asked = baseline_bank.problem((range(12), (0, 1)))
    if stressed:
        asked = dataclasses.replace(asked, recipe=Recipe(learning_rate=0.5, epochs=1))

    def run_it(monitor: Recorder) -> Outcome:
        return eager(asked, BUDGET, seed=1, device=CPU, monitor=monitor)

    whole = Recorder()
    expected = run_it(whole)
    steps = [number for number, call in enumerate(whole.calls, 1) if call[2] == "unlearning"]
    assert len(steps) == expected.steps == 14
    assert (expected.details["trust_region"]["violations"] > 0) == stressed
    broken = Recorder(interrupt_after=steps[-3])
    with pytest.raises(Interrupted):
        run_it(broken)
    assert broken.saved is not None
    assert broken.saved["unlearning"]["done"] == 14 - 3
    assert broken.saved["unlearning"]["subspaces"] is not None
    outcome = run_it(Recorder(saved=broken.saved))
    assert same_bits(outcome.network, expected.network)
    assert outcome.passes == expected.passes
    assert outcome.details == expected.details


@pytest.mark.parametrize("guards", ["when_needed", "always"])
@pytest.mark.parametrize("visits", [2, 4], ids=["computed", "held"])
def test_every_forward_pass_is_counted(guards: Guards, visits: int) -> None:
    """The original's, the reference's, the probe's, those behind the bases, and our own; where the original's
    answers are held, but for one look at how much an answer weighs."""
    seen = 0

    def count(module: nn.Module, given: tuple[Tensor], result: object) -> None:
        nonlocal seen
        seen += len(given[0])

    def counted_build(generator: torch.Generator) -> nn.Module:
        network = baseline_bank.build(generator)
        network.register_forward_hook(count)
        return network

    asked = dataclasses.replace(baseline_bank.problem((range(12), (0, 1))), build=counted_build)
    asked.network.register_forward_hook(count)
    method = dataclasses.replace(baseline_methods.GUARDED, guards=guards)
    outcome = method(asked, Budget(visits), seed=1, device=CPU, monitor=Silent())
    held = outcome.steps * RETAIN_RATIO * BUDGET.batch_size >= RECURRING * len(asked.train)
    assert held == (visits == 4)
    assert seen - (outcome.passes + outcome.forward_passes) in ((0, 1) if held else (0,))
    stepping = outcome.steps * (1 + RETAIN_RATIO) * BUDGET.batch_size
    bases = MICROBATCHES * BUDGET.batch_size if guards == "always" else 0
    assert outcome.passes == 16 + 32 + stepping + bases


def test_a_snapshot_of_another_run_is_ignored() -> None:
    eager = InterferenceAware(calibration=QUICK.calibration, snapshot_seconds=0.0)
    recorder = Recorder()
    run(request(range(20), (0,)), method=eager, monitor=recorder)
    asked = request(range(21), (0,))
    outcome = run(asked, method=eager, monitor=Recorder(saved=recorder.saved))
    assert same_bits(outcome.network, run(asked).network)


def test_progress_is_told_at_every_step_and_ends_at_its_total() -> None:
    recorder = Recorder()
    outcome = run(request(range(20), (0, 1, 2)), monitor=recorder)
    done = [call[0] for call in recorder.calls]
    assert done == sorted(done)
    assert recorder.calls[-1][0] == recorder.calls[-1][1]
    assert len(recorder.calls) > outcome.steps + 80 // 8 + 160 // 16


def test_guards_engage_under_stress_and_the_run_survives() -> None:
    stressed = Recipe(learning_rate=0.2, epochs=1)
    outcome = QUICK(
        problem(request(range(60), (0, 1)), recipe=stressed),
        Budget(visits=8),
        seed=1,
        device=CPU,
        monitor=Silent(),
    )
    assert outcome.details["trust_region"]["violations"] > 0
    assert all(bool(parameter.isfinite().all()) for parameter in outcome.network.parameters())


def test_batch_normalisation_keeps_its_statistics() -> None:
    network = build_cnn(derived_generator(3, "cnn")).eval()
    outcome = run(request(range(10), (0, 1, 2)), network=network, build=build_cnn)
    for (name, before), (_, after) in zip(
        network.named_buffers(), outcome.network.named_buffers(), strict=True
    ):
        assert torch.equal(before, after), name
    assert not same_bits(network.shared, outcome.network.shared)  # type: ignore[arg-type]


def test_recipes_of_plain_descent_do_not_blow_up() -> None:
    outcome = run(request(range(10), (0,)), recipe=Recipe(optimizer="sgd", learning_rate=0.1))
    assert outcome.details["trust_region"]["inside"]


@pytest.mark.parametrize(
    ("rows", "tasks", "code"),
    [
        (range(INSTANCES), (0,), "task_would_be_erased"),
        (range(INSTANCES // 2 + 1), (0, 1, 2), "forget_set_too_large"),
    ],
)
def test_refusals(rows: range, tasks: tuple[int, ...], code: str) -> None:
    with pytest.raises(Refused) as refused:
        run(request(rows, tasks))
    assert refused.value.code == code


def test_a_loss_that_is_not_a_number_is_refused() -> None:
    network = original()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(Refused) as refused:
        run(request([1], (0,)), network=network)
    assert refused.value.code == "loss_not_finite"


def test_a_single_instance_costs_as_much_retained_supervision_per_step_as_many_do() -> None:
    def passes(visits: int) -> tuple[int, int]:
        outcome = QUICK(
            problem(request([3], (0, 1, 2))), Budget(visits), seed=1, device=CPU, monitor=Silent()
        )
        return outcome.steps, outcome.passes

    (few, cost_of_few), (more, cost_of_more) = passes(4), passes(8)
    assert more > few
    assert cost_of_more - cost_of_few == (more - few) * (1 + 16)


def test_a_small_request_takes_more_steps_than_its_visits_and_shorter_ones() -> None:
    sizes = [(1, 1), (8, 8), (16, 8), (20, 8), (29, 8), (800, 8)]
    assert [planned_steps(60, *size) for size in sizes] == [210, 210, 210, 210, 218, 6000]
    shares = [rate_share(*size) for size in sizes]
    assert shares == pytest.approx([1 / 2 * part for part in (2 / 3, 2 / 3, 2 / 2.5, 1, 1, 1)])
