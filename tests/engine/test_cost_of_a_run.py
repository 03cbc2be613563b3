"""What a run costs: passes and steps, all of them counted, none for data that nobody asked about."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from tests.engine import baseline_bank, baseline_methods
from tests.engine.digits_problem import CPU, QUICK, problem, request
from tests.engine.runs import BUDGET, run
from worker.engine.contract import Batch, Budget, ForgetRequest, ForgetSet, Silent
from worker.engine.evaluation import evaluate
from worker.engine.original_answers import RECURRING
from worker.engine.supervision import RULER_SAMPLE
from worker.engine.task_subspaces import MICROBATCHES
from worker.engine.trust_region import Guards
from worker.engine.unlearning import BASIS_RATIO, RETAIN_RATIO, planned_steps, rate_share


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
    bases = MICROBATCHES * BASIS_RATIO * RETAIN_RATIO * BUDGET.batch_size if guards == "always" else 0
    assert outcome.passes == 16 + 32 + stepping + bases


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
