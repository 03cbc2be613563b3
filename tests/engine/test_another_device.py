"""On a device of their own, methods end with the CPU's bits, and the loop keeps no host waiting."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from tests.engine import baseline_bank, baseline_methods, dense_problem
from tests.engine.other_device import CPU, OTHER, Far, Traffic, other_device
from tests.engine.runs import Recorder
from worker.engine.calibration import CalibrationSettings
from worker.engine.contract import Budget, Interrupted, Method, Outcome, Problem, Silent
from worker.engine.descent import INSPECTION as DESCENT_INSPECTION
from worker.engine.evaluation import evaluate, memorisation
from worker.engine.evaluation.relearning import relearn
from worker.engine.interference_aware import InterferenceAware
from worker.engine.methods import METHODS
from worker.engine.progress import Progress
from worker.engine.supervision import bind_tasks
from worker.engine.training import train
from worker.engine.unlearning import INSPECTION, Unlearning

OURS = InterferenceAware(calibration=CalibrationSettings(reference_samples=16, probe_samples=32))
EVERY: Mapping[str, Method] = {
    "interference_aware": OURS,
    "interference_aware, guarded": baseline_methods.GUARDED,
    "retrain": METHODS["retrain"],
    **{name: expected.method for name, expected in baseline_methods.BASELINES.items()},
}
BUDGET = Budget(visits=4)


def asked() -> Problem:
    return baseline_bank.problem((range(12), (0, 1)))


def run(method: Method, problem: Problem, device: torch.device, monitor: Any = None) -> Outcome:
    return method(problem, BUDGET, seed=1, device=device, monitor=monitor or Silent())


def values(outcome: Outcome) -> Mapping[str, Tensor]:
    return {name: one.cpu() for name, one in outcome.network.state_dict().items()}


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_the_device_refuses_what_cuda_does_and_notes_what_the_host_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with other_device(monkeypatch) as traffic:
        numbers = torch.arange(4.0).to(OTHER, non_blocking=True)
        assert isinstance(numbers, Far)
        assert numbers.device == OTHER
        assert traffic == Traffic([], 1)
        with pytest.raises(RuntimeError, match="same device"):
            numbers + torch.ones(4)
        with pytest.raises(RuntimeError, match="same device"):
            torch.ones(4)[numbers.long()]
        assert isinstance(numbers + torch.tensor(1.0), Far)
        assert isinstance(torch.zeros(2, device=OTHER), Far)
        assert traffic == Traffic([], 1)
        for wait in (
            lambda: numbers.tolist(),
            lambda: float(numbers[0]),
            lambda: bool((numbers > 0).any()),
            lambda: numbers[torch.tensor([0, 2])],
            lambda: numbers[numbers > 1],
            lambda: torch.ones(4).to(OTHER),
            lambda: torch.tensor([1.0], device=OTHER),
            lambda: numbers.copy_(torch.ones(4)),
        ):
            before = len(traffic.waits)
            wait()
            assert len(traffic.waits) > before
    with pytest.raises(RuntimeError, match="only there within"):
        numbers + 1


@pytest.mark.parametrize("name", EVERY)
def test_every_method_ends_with_the_bits_of_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(EVERY[name], asked(), CPU)
    with other_device(monkeypatch):
        outcome = run(EVERY[name], asked(), OTHER)
        assert all(isinstance(one, Far) for one in outcome.network.parameters())
        assert_same(values(outcome), values(expected))
    assert outcome.details == expected.details
    assert outcome.residuals == expected.residuals


@pytest.mark.parametrize("bytes_held", [1 << 28, 0])
def test_dense_tasks_too_and_with_a_teacher_in_host_memory(
    bytes_held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engine.measurement.HELD_AS_THEY_ARE", bytes_held)
    problem = dense_problem.trained_problem((0, 1))
    expected = run(OURS, problem, CPU)
    with other_device(monkeypatch):
        assert_same(values(run(OURS, problem, OTHER)), values(expected))


def test_what_is_measured_there_are_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of networks that are handed in from host memory, as a loaded checkpoint is."""
    problem = dense_problem.trained_problem((0, 1))
    before, after = problem.network, problem.build(torch.Generator().manual_seed(5)).eval()
    train, holdout, silent = problem.train, problem.calibration, Silent()

    def figures(device: torch.device) -> Sequence[Any]:
        tasks = bind_tasks(problem.tasks, train, {}, device)
        return [
            evaluate(
                before, after, tasks=problem.tasks, train=train, audit=holdout, forget=problem.forget,
                seed=1, device=device, monitor=silent,
            ),
            relearn(
                after, tasks, train, problem.forget.mask(), [60.0, 60.0, 60.0], problem.recipe,
                seed=1, device=device, progress=Progress(silent, 1), most_visits=2,
            ),
            memorisation(
                copy.deepcopy(before), tasks=problem.tasks, train=train, holdout=holdout,
                seed=1, device=device, monitor=silent,
            ),
        ]  # fmt: skip

    expected = figures(CPU)
    with other_device(monkeypatch):
        assert repr(figures(OTHER)) == repr(expected)  # where there is nothing, NaN


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
def test_a_run_is_taken_up_on_the_device_from_a_snapshot_in_host_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Service(Recorder):
        def save(self, snapshot: Mapping[str, Any]) -> None:
            super().save(
                tree_map(lambda value: value.cpu() if isinstance(value, Tensor) else value, snapshot)
            )

    eager = InterferenceAware(guards="always", calibration=OURS.calibration, snapshot_seconds=0.0)
    with other_device(monkeypatch):
        whole = Service()
        expected = values(run(eager, asked(), OTHER, whole))
        broken = Service(interrupt_after=int(0.9 * len(whole.calls)))
        with pytest.raises(Interrupted):
            run(eager, asked(), OTHER, broken)
        assert broken.saved is not None
        assert broken.saved["unlearning"]["done"] > 0
        assert_same(values(run(eager, asked(), OTHER, Service(saved=broken.saved))), expected)


@pytest.mark.parametrize("method", [OURS, baseline_methods.GUARDED], ids=["idle", "guarded"])
def test_a_step_keeps_the_host_waiting_only_where_it_inspects(
    method: InterferenceAware, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apart from the first step under guards, which finds the subspaces."""
    steps: list[Sequence[str]] = []
    step = Unlearning.step
    with other_device(monkeypatch) as traffic:

        def watched(self: Unlearning) -> None:
            before = len(traffic.waits)
            step(self)
            steps.append(traffic.waits[before:])

        monkeypatch.setattr(Unlearning, "step", watched)
        outcome = run(method, asked(), OTHER)
    assert len(steps) == outcome.steps > 2 * INSPECTION
    first = 1 if method.guards == "always" else 0
    assert bool(steps[0]) == bool(first)
    inspected = [number % INSPECTION == 0 or number == len(steps) for number in range(1, len(steps) + 1)]
    assert [len(waits) for waits in steps[first:]] == [int(one) for one in inspected[first:]]


def test_training_keeps_the_host_waiting_only_where_it_inspects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait per inspection, one per tensor of weights in the end, and the metric's rulers before."""
    problem = asked()
    with other_device(monkeypatch) as traffic:
        network = problem.network.to(OTHER)
        traffic.waits.clear()
        train(
            network, problem.tasks, problem.train, problem.train.present, problem.recipe,
            seed=1, device=OTHER, monitor=Silent(),
        )  # fmt: skip
    batches = len(problem.train) // problem.recipe.batch_size * problem.recipe.epochs
    inspections = -(-batches // DESCENT_INSPECTION)
    others = len(problem.tasks) + 1 + len(list(network.parameters()))
    assert len(traffic.waits) == inspections + others
