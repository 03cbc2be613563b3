"""One step of our method beside one step of plain fine-tuning over the same instances."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.random_data import random_data
from worker.engine.calibration import CalibrationSettings, calibrate
from worker.engine.contract import ForgetRequest, ForgetSet, Problem, Recipe, Silent, TaskSpec
from worker.engine.forget_groups import plan_forgetting
from worker.engine.forward import Precision, answers
from worker.engine.networks import build_network
from worker.engine.progress import Progress
from worker.engine.snapshots import SnapshotClock
from worker.engine.supervision import bind_tasks, instance_losses, task_weights, training_loss
from worker.engine.unlearning import RETAIN_RATIO, Unlearning

# A step costs what it costs, whatever was calibrated: a few samples will do.
QUICK = CalibrationSettings(reference_samples=16, probe_samples=16, reference_batch=8, probe_batch=8)
FAR = 1e9


@dataclass(frozen=True)
class Setting:
    """A network on inputs of one shape, and how many of `instances` are forgotten, for which tasks."""

    name: str
    network: Mapping[str, Any]
    shape: tuple[int, ...]
    tasks: tuple[TaskSpec, ...]
    named: tuple[int, ...] = (0, 1, 2)
    instances: int = 256
    forget: int = 32
    batch: int = 8
    recipe_batch: int = 32

    @property
    def instances_per_step(self) -> int:
        return (1 + RETAIN_RATIO) * self.batch


class FineTuning:
    """All tasks, all parameters, the recipe's loss: what one step of training costs."""

    def __init__(self, problem: Problem, device: torch.device, precision: Precision = "float32") -> None:
        self.network = copy.deepcopy(problem.network).to(device).eval().requires_grad_(True)
        self._data, self._device, self._precision = problem.train, device, precision
        self._tasks = bind_tasks(problem.tasks, problem.train, {}, device)
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-5, fused=True)
        self._weights = task_weights(self._tasks, device)

    def step(self, rows: Tensor) -> None:
        batch = self._data.fetch(rows).to(self._device)
        said = answers(self.network, batch.inputs, self._precision)
        loss = training_loss(instance_losses(self._tasks, said, batch), batch.present, self._weights)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


def make_problem(setting: Setting, seed: int = 0) -> Problem:
    """An untrained network: it costs what a trained one does."""
    network = build_network(setting.network, setting.tasks, torch.Generator().manual_seed(seed))
    request = ForgetRequest("request", torch.arange(setting.forget), setting.named)
    return Problem(
        network=network.eval(),
        build=lambda generator: build_network(setting.network, setting.tasks, generator),
        tasks=setting.tasks,
        train=random_data(setting.instances, setting.shape, setting.tasks, seed),
        calibration=random_data(64, setting.shape, setting.tasks, seed + 1),
        forget=ForgetSet(setting.instances, len(setting.tasks), (request,)),
        recipe=Recipe(learning_rate=1e-5, batch_size=setting.recipe_batch),
    )


def make_unlearning(
    problem: Problem,
    setting: Setting,
    device: torch.device,
    *,
    steps: int,
    guarded: bool,
    precision: Precision = "float32",
) -> Unlearning:
    """Ready to step; with `guarded`, both guards are engaged from the first step on, and stay."""
    plan = plan_forgetting(problem.forget, problem.train.present, problem.tasks)
    tasks = bind_tasks(problem.tasks, problem.train, {}, device)
    original = copy.deepcopy(problem.network).to(device).eval().requires_grad_(False)
    calibration = calibrate(
        original, problem, plan, tasks, QUICK,
        seed=0, device=device, progress=Progress(Silent(), 1),
        clock=SnapshotClock(Silent(), "benchmark"), saved={}, precision=precision,
    )  # fmt: skip
    run = Unlearning(
        original, problem, plan, tasks, calibration,
        steps=steps, batch_size=setting.batch, retain_batch_size=RETAIN_RATIO * setting.batch,
        seed=0, device=device, precision=precision,
    )  # fmt: skip
    # Nothing here is learned, so the retain loss may go anywhere: the region must not put anything back.
    run.region = replace(run.region, holdout_loss=FAR, violations=int(guarded))
    return run
