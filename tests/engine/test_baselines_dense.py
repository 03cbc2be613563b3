"""Every baseline on tasks that answer per pixel, beside one that answers per image."""

import pytest
import torch
from torch import Tensor, nn

from tests.engine.baseline_bank import CPU, Rows, same_bits
from tests.engine.baseline_methods import BASELINES, LEAVES_OTHER_HEADS, Expected
from worker.engine.baselines.random_targets import RandomTargets
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, ForgetRequest, ForgetSet, Problem, Recipe, Silent, TaskSpec
from worker.engine.networks import build_network

TASKS = (
    TaskSpec("segments", "segmentation", 3),
    TaskSpec("depth", "depth", 1),
    TaskSpec("normals", "normals", 3),
    TaskSpec("scene", "classification", 2),
)
SPEC = {"kind": "segnet", "widths": [4, 8], "depths": [1, 1]}
COUNT, SIDE = 16, 8
BRIEFLY = Budget(scale=0.2)


def build(generator: torch.Generator) -> nn.Module:
    return build_network(SPEC, TASKS, generator)


def make_rows(count: int, seed: int) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    normals = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    targets: dict[str, Tensor] = {
        "segments": torch.randint(0, 3, (count, SIDE, SIDE), generator=generator),
        "depth": torch.rand(count, 1, SIDE, SIDE, generator=generator) + 0.5,
        "normals": normals / normals.norm(dim=1, keepdim=True),
        "scene": torch.randint(0, 2, (count,), generator=generator),
    }
    return Rows(inputs, targets, torch.ones(count, len(TASKS), dtype=torch.bool))


def problem(columns: tuple[int, ...]) -> Problem:
    return Problem(
        network=build(torch.Generator().manual_seed(0)).eval(),
        build=build,
        tasks=TASKS,
        train=make_rows(COUNT, 1),
        calibration=make_rows(8, 2),
        forget=ForgetSet(COUNT, len(TASKS), (ForgetRequest("request", torch.arange(4), columns),)),
        recipe=Recipe(learning_rate=1e-3, batch_size=8, epochs=4),
    )


@pytest.mark.parametrize("expected", list(BASELINES.values()), ids=list(BASELINES))
def test_runs_on_maps_and_leaves_statistics_alone(expected: Expected) -> None:
    job = problem((1, 2))
    outcome = expected.method(job, BRIEFLY, seed=5, device=CPU, monitor=Silent())
    assert outcome.passes > 0
    before, after = dict(job.network.named_buffers()), dict(outcome.network.named_buffers())
    assert before
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(bool(parameter.isfinite().all()) for parameter in outcome.network.parameters())
    if expected.method.name in LEAVES_OTHER_HEADS:
        for name in ("segments", "scene"):
            head, original = (n.get_submodule(f"heads.{name}") for n in (outcome.network, job.network))
            assert same_bits(head, original)


def test_random_targets_of_maps_are_whole_maps_of_others() -> None:
    job = problem((0, 1))
    run = Run(job, Budget(), seed=5, device=CPU, monitor=Silent())
    sample = run.sample(torch.arange(6))
    given = RandomTargets(run).replace(sample, 0).batch.targets
    for name in ("segments", "depth"):
        retained = job.train.fetch(torch.arange(4, COUNT)).targets[name]
        for row in range(4):
            assert any(torch.equal(given[name][row], other) for other in retained)
    assert torch.equal(given["normals"], sample.batch.targets["normals"])
    assert torch.equal(given["scene"], sample.batch.targets["scene"])
