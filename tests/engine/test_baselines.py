"""Every baseline forgets what it is told to, and keeps its promises to the pipeline."""

import copy
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from tests.engine import baseline_methods
from tests.engine.baseline_bank import (
    CPU,
    FORGET,
    HOLDOUT,
    TASKS,
    TRAIN,
    Watching,
    build,
    problem,
    same_bits,
)
from tests.engine.baseline_methods import BASELINES, GUARDED, LEAVES_OTHER_HEADS, Expected
from tests.engine.imported_anew import imported_anew
from worker.engine.contract import Budget, ForgetRequest, Interrupted, Outcome, Problem, Silent
from worker.engine.measurement import Measurement, measure
from worker.engine.methods import METHODS
from worker.engine.progress import Progress
from worker.engine.supervision import bind_tasks

EACH = pytest.mark.parametrize("expected", list(BASELINES.values()), ids=list(BASELINES))
BRIEFLY = Budget(scale=0.2)  # enough where only the manner matters
FULL, CLASSES, VALUES = (0, 1, 2), (0,), (1,)


def run(expected: Expected, job: Problem, budget: Budget) -> Outcome:
    return expected.method(job, budget, seed=5, device=CPU, monitor=Silent())


def look(network: nn.Module, job: Problem, rows: Tensor, held_out: bool = False) -> Measurement:
    tasks = bind_tasks(TASKS, job.train, {}, CPU)
    data = job.calibration if held_out else job.train
    return measure(network, tasks, data, rows, device=CPU, progress=Progress(Silent(), 1), note="test")


@EACH
@pytest.mark.parametrize("named", [FULL, CLASSES, VALUES], ids=["full", "classes", "values"])
def test_forgets_what_is_named_and_keeps_the_rest(expected: Expected, named: tuple[int, ...]) -> None:
    job = problem((range(FORGET), named))
    outcome = run(expected, job, Budget())
    forget, retain, holdout = torch.arange(FORGET), torch.arange(FORGET, TRAIN), torch.arange(HOLDOUT)
    before, unseen = look(job.network, job, forget), look(job.network, job, holdout, held_out=True)
    after, kept = look(outcome.network, job, forget), look(outcome.network, job, retain)
    start, end = (measured.losses[:, list(named)].mean(dim=0) for measured in (before, unseen))
    way = (after.losses[:, list(named)].mean(dim=0) - start) / (end - start)
    assert float(way.mean()) >= expected.way
    if named == FULL:
        assert float(way.min()) >= (expected.way if expected.weakest is None else expected.weakest)
    assert sum(kept.points(column) for column in range(3)) / 3 >= expected.floor
    for column in set(FULL) - set(named):
        assert after.points(column) >= expected.floor


def test_the_bank_has_memorised() -> None:
    job = problem((range(FORGET), FULL))
    seen = look(job.network, job, torch.arange(TRAIN))
    unseen = look(job.network, job, torch.arange(HOLDOUT), held_out=True)
    for column in range(3):
        assert seen.points(column) > unseen.points(column) + 25


@EACH
def test_nothing_to_forget_leaves_every_bit(expected: Expected) -> None:
    job = problem()
    outcome = run(expected, job, BRIEFLY)
    assert outcome.network is not job.network
    assert same_bits(outcome.network, job.network)
    assert (outcome.passes, outcome.forward_passes, outcome.steps) == (0, 0, 0)


@EACH
def test_same_seed_same_bits_and_no_global_state(expected: Expected) -> None:
    job = problem((range(FORGET), CLASSES), (range(6, 18), VALUES))
    before, state = copy.deepcopy(job.network), torch.get_rng_state()
    first = run(expected, job, BRIEFLY)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    assert same_bits(first.network, run(expected, job, BRIEFLY).network)
    assert same_bits(before, job.network)
    assert not same_bits(before, first.network)


@pytest.fixture(scope="module")
def unused() -> ModuleType:
    """The methods once more, in modules that never ran anything."""
    with imported_anew("tests.engine.baseline_methods") as methods:
        assert methods.BASELINES is not BASELINES
        return methods


@pytest.mark.parametrize("name", [*BASELINES, GUARDED.name])
def test_nothing_of_one_job_is_left_for_the_next(name: str, unused: ModuleType) -> None:
    """Another job in between changes no bit, nor does one before: as in a process that never saw a job."""

    def by(methods: ModuleType, job: Problem) -> Outcome:
        method = methods.GUARDED if name == GUARDED.name else methods.BASELINES[name].method
        outcome: Outcome = method(job, Budget(visits=2, scale=0.1), seed=5, device=CPU, monitor=Silent())
        return outcome

    first, second = problem((range(FORGET), CLASSES)), problem((range(8, 24), (1, 2)))
    outcomes = [by(baseline_methods, job) for job in (first, second, first)]
    assert same_bits(outcomes[0].network, outcomes[2].network)
    assert same_bits(by(unused, second).network, outcomes[1].network)
    assert not same_bits(outcomes[1].network, second.network)


@EACH
def test_the_recipe_s_weight_decay_has_no_say(expected: Expected) -> None:
    """It would move what a method leaves alone, and forget by itself."""
    job = problem((range(FORGET), CLASSES))
    decaying = replace(job, recipe=replace(job.recipe, weight_decay=0.5))
    ends = [run(expected, asked, Budget(scale=0.05)).network for asked in (job, decaying)]
    assert same_bits(*ends)


@EACH
def test_leaves_modes_flags_hooks_and_gradients_as_they_were(expected: Expected) -> None:
    job = problem((range(FORGET), CLASSES))
    job.network.train()
    outcome = run(expected, job, BRIEFLY)
    for network in (job.network, outcome.network):
        assert network.training
        assert all(p.requires_grad and p.grad is None for p in network.parameters())
        assert not any(module._forward_pre_hooks or module._forward_hooks for module in network.modules())


@EACH
def test_every_forward_pass_is_counted(expected: Expected) -> None:
    seen = 0

    def count(module: nn.Module, given: tuple[Tensor], result: object) -> None:
        nonlocal seen
        seen += len(given[0])

    def counted_build(generator: torch.Generator) -> nn.Module:
        network = build(generator)
        network.register_forward_hook(count)
        return network

    job = problem((range(FORGET), CLASSES))
    job.network.register_forward_hook(count)
    job = Problem(**{**vars(job), "build": counted_build})
    outcome = run(expected, job, BRIEFLY)
    assert outcome.passes + outcome.forward_passes == seen
    assert outcome.visits > 0
    assert outcome.steps > 0


@EACH
def test_progress_is_steady_and_complete(expected: Expected) -> None:
    job, monitor = problem((range(FORGET), FULL)), Watching()
    outcome = expected.method(job, BRIEFLY, seed=5, device=CPU, monitor=monitor)
    assert monitor.shares == sorted(monitor.shares)
    assert len(monitor.shares) >= outcome.steps
    stopped_early = expected.method.name == "pgu"
    assert monitor.shares[-1] == 1 or stopped_early


@EACH
def test_can_be_interrupted(expected: Expected) -> None:
    class Impatient(Silent):
        def progress(self, done: int, total: int, note: str) -> None:
            raise Interrupted

    with pytest.raises(Interrupted):
        expected.method(problem((range(FORGET), FULL)), BRIEFLY, seed=5, device=CPU, monitor=Impatient())


@EACH
def test_supervision_forgotten_earlier_is_never_looked_at(expected: Expected) -> None:
    earlier = ForgetRequest("earlier", torch.arange(20, 32), (0, 1))
    jobs = [problem((range(FORGET), FULL), excluded=[earlier]) for _ in range(2)]
    poisoned: dict[str, Tensor] = jobs[1].train.targets  # type: ignore[attr-defined]
    poisoned["colour"][20:32] = (poisoned["colour"][20:32] + 1) % 3
    poisoned["size"][20:32] += 0.01  # little enough to leave the metric's ruler, which is fitted on all
    outcomes = [run(expected, job, BRIEFLY) for job in jobs]
    assert same_bits(outcomes[0].network, outcomes[1].network)


@pytest.mark.parametrize("name", LEAVES_OTHER_HEADS)
def test_heads_of_other_tasks_stay_bit_identical(name: str) -> None:
    job = problem((range(FORGET), (1,)))
    heads = run(BASELINES[name], job, BRIEFLY).network.get_submodule("heads")
    before = job.network.get_submodule("heads")
    assert same_bits(heads.get_submodule("colour"), before.get_submodule("colour"))
    assert same_bits(heads.get_submodule("shape"), before.get_submodule("shape"))
    assert not same_bits(heads.get_submodule("size"), before.get_submodule("size"))


@pytest.mark.parametrize("name", sorted(set(BASELINES) - {"ssd", "pgu"}))  # no training; stops by itself
def test_a_larger_scale_costs_more(name: str) -> None:
    expected = BASELINES[name]
    job = problem((range(FORGET), CLASSES))
    once, twice = (
        expected.method(job, Budget(scale=scale), seed=5, device=CPU, monitor=Silent())
        for scale in (0.2, 0.4)
    )
    assert twice.passes > 1.3 * once.passes


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_is_registered(name: str) -> None:
    assert METHODS[name].name == name
    assert METHODS[name].guarantee == "empirical"
