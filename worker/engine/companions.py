"""The two networks that a calibration trains: a reference E, which learns on from the original, and a probe
P, which never saw the request. Both learn what is retained, for as many samples whatever there is to learn.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from worker.engine.contract import Problem
from worker.engine.descent import Descent, Restart, adam_rate, descend
from worker.engine.forget_groups import ForgetPlan
from worker.engine.forward import Precision
from worker.engine.probe import shrink_and_perturb
from worker.engine.progress import Progress
from worker.engine.room import room_to_train
from worker.engine.snapshots import SnapshotClock
from worker.engine.supervision import Task

Companion = Literal["reference", "probe"]


@dataclass(frozen=True)
class Lesson:
    """pool: rows, of which the first `samples` are learned. samples: instance passes, `batch` at a time."""

    pool: Tensor
    samples: int
    batch: int

    @property
    def rows(self) -> Tensor:
        return self.pool[: self.samples]

    @property
    def steps(self) -> int:
        return max(1, self.samples // self.batch)


def train_companions(
    original: nn.Module,
    problem: Problem,
    plan: ForgetPlan,
    tasks: tuple[Task, ...],
    lessons: Mapping[Companion, Lesson],
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
    clock: SnapshotClock,
    saved: Mapping[str, Any],
    precision: Precision,
) -> tuple[Mapping[Companion, nn.Module], int]:
    """Both networks, on the CPU, and the instance passes they took. saved: an earlier attempt's snapshot."""
    networks: dict[Companion, nn.Module] = {}
    finished: dict[str, Any] = {}
    passes = 0
    for name, lesson in lessons.items():
        network = _beginning(name, original, problem, seed).to(device)
        for parameter, registered in zip(network.parameters(), problem.network.parameters(), strict=True):
            parameter.requires_grad_(registered.requires_grad)
        sample = torch.zeros_like(plan.retained)
        sample[lesson.rows] = plan.retained[lesson.rows]
        cost = descend(
            network,
            tasks,
            problem.train,
            sample,
            Descent(
                steps=lesson.steps,
                batch_size=lesson.batch,
                learning_rate=adam_rate(problem.recipe),
                schedule="linear",
                training_mode=name == "probe",
            ),
            seed=seed,
            label=name,
            device=device,
            progress=progress,
            restart=Restart(saved.get(name), _offering(clock, name, dict(finished))),
            room=room_to_train(problem.train, problem.recipe, lesson.batch),
            precision=precision,
        )
        network.to("cpu")  # until it is looked at: the next one is trained in the meantime
        finished[name] = {
            "step": cost,  # passes, no fewer than steps: nothing is left to do
            "network": dict(network.state_dict()),
            "optimizer": {},
        }
        networks[name] = network
        passes += cost
    return networks, passes


def _beginning(name: Companion, original: nn.Module, problem: Problem, seed: int) -> nn.Module:
    if name == "reference":
        return copy.deepcopy(original)
    return shrink_and_perturb(problem.network, problem.build, seed=seed)


def _offering(
    clock: SnapshotClock, name: str, finished: Mapping[str, Any]
) -> Callable[[Callable[[], Mapping[str, Any]]], None]:
    """Offer one companion's state together with those that are finished."""
    return lambda state: clock.offer(lambda: {**finished, name: state()})
