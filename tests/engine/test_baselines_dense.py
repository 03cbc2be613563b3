"""Every baseline on tasks that answer per pixel, beside one that answers per image."""

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.engine.baseline_bank import CPU, Rows, same_bits
from tests.engine.baseline_methods import BASELINES, LEAVES_OTHER_HEADS
from worker.engine.baselines.random_targets import RandomTargets
from worker.engine.baselines.run import Run
from worker.engine.contract import (
    Budget,
    Data,
    ForgetRequest,
    ForgetSet,
    Problem,
    Recipe,
    Silent,
    TaskSpec,
)
from worker.engine.measurement import measure
from worker.engine.networks import build_network
from worker.engine.progress import Progress
from worker.engine.supervision import bind_tasks
from worker.engine.training import train

TASKS = (
    TaskSpec("segments", "segmentation", 3),
    TaskSpec("depth", "depth", 1),
    TaskSpec("normals", "normals", 3),
    TaskSpec("scene", "classification", 2),
)
SPEC = {"kind": "segnet", "widths": [8, 16], "depths": [1, 1]}
RECIPE = Recipe(learning_rate=1e-2, epochs=50, batch_size=8, schedule="linear")
COUNT, HOLDOUT, SIDE, FORGET = 16, 24, 8, 4
MAPS, EVERYTHING = (0, 1, 2), (0, 1, 2, 3)
LEAST = 0.15  # of the way from the memorised to the held-out loss
# Each method is asked everything, and one map alone: the next method the next one.
CASES = [
    (name, columns)
    for number, name in enumerate(BASELINES)
    for columns in (EVERYTHING, (MAPS[number % len(MAPS)],))
]


def build(generator: torch.Generator) -> nn.Module:
    return build_network(SPEC, TASKS, generator)


def make_rows(count: int, seed: int) -> Rows:
    """Colours and answers of an image have nothing to do with each other: what a network knows of the
    answers, it knows by heart."""
    generator = torch.Generator().manual_seed(seed)
    grid = (count, 1, SIDE, SIDE)
    colours = torch.randn(count, 3, 2, 2, generator=generator)
    classes = torch.randint(0, 3, (count, 1, 1, 1), generator=generator)
    distances = torch.rand(count, 1, 1, 1, generator=generator) + 0.5
    normals = torch.randn(count, 3, 1, 1, generator=generator)
    targets: dict[str, Tensor] = {
        "segments": classes.expand(grid)[:, 0].clone(),
        "depth": distances.expand(grid).clone(),
        "normals": (normals / normals.norm(dim=1, keepdim=True)).expand(-1, -1, SIDE, SIDE).clone(),
        "scene": torch.randint(0, 2, (count,), generator=generator),
    }
    inputs = functional.interpolate(colours, scale_factor=SIDE // 2)
    return Rows(inputs, targets, torch.ones(count, len(TASKS), dtype=torch.bool))


@cache
def memorised() -> nn.Module:
    network, data = build(torch.Generator().manual_seed(0)), make_rows(COUNT, 1)
    train(network, TASKS, data, data.present, RECIPE, seed=0, device=CPU, monitor=Silent())
    return network.eval()


def problem(columns: tuple[int, ...]) -> Problem:
    return Problem(
        network=copy.deepcopy(memorised()),
        build=build,
        tasks=TASKS,
        train=make_rows(COUNT, 1),
        calibration=make_rows(HOLDOUT, 2),
        forget=ForgetSet(COUNT, len(TASKS), (ForgetRequest("request", torch.arange(FORGET), columns),)),
        recipe=RECIPE,
    )


def losses(network: nn.Module, data: Data) -> Tensor:
    """(n, T)."""
    tasks, rows = bind_tasks(TASKS, data, {}, CPU), torch.arange(len(data))
    progress = Progress(Silent(), 1)
    return measure(network, tasks, data, rows, device=CPU, progress=progress, note="test").losses


def test_the_bank_has_memorised_every_map() -> None:
    job = problem(EVERYTHING)
    seen, unseen = losses(job.network, job.train), losses(job.network, job.calibration)
    assert bool((seen[:FORGET].mean(dim=0) < 0.7 * unseen.mean(dim=0)).all())


@pytest.mark.parametrize(("name", "columns"), CASES)
def test_maps_are_forgotten_and_statistics_left_alone(name: str, columns: tuple[int, ...]) -> None:
    job = problem(columns)
    outcome = BASELINES[name].method(job, Budget(scale=0.5), seed=5, device=CPU, monitor=Silent())
    known, unknown = losses(job.network, job.train), losses(job.network, job.calibration)
    start, end = known[:FORGET].mean(dim=0), unknown.mean(dim=0)
    way = (losses(outcome.network, job.train)[:FORGET].mean(dim=0) - start) / (end - start)
    assert float(way[[column for column in columns if column in MAPS]].min()) > LEAST
    before, after = dict(job.network.named_buffers()), dict(outcome.network.named_buffers())
    assert before
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(bool(parameter.isfinite().all()) for parameter in outcome.network.parameters())
    for column in set(EVERYTHING) - set(columns) if name in LEAVES_OTHER_HEADS else ():
        head, original = (
            n.get_submodule(f"heads.{TASKS[column].name}") for n in (outcome.network, job.network)
        )
        assert same_bits(head, original)


def test_random_targets_of_maps_are_whole_maps_of_others() -> None:
    job = problem((0, 1))
    run = Run(job, Budget(), seed=5, device=CPU, monitor=Silent())
    sample = run.sample(torch.arange(6))
    given = RandomTargets(run).replace(sample, 0).batch.targets
    for name in ("segments", "depth"):
        retained = job.train.fetch(torch.arange(FORGET, COUNT)).targets[name]
        for row in range(FORGET):
            assert any(torch.equal(given[name][row], other) for other in retained)
    assert torch.equal(given["normals"], sample.batch.targets["normals"])
    assert torch.equal(given["scene"], sample.batch.targets["scene"])
