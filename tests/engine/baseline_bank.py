"""One bank of easy problems for all baselines: a small network that has memorised a hundred instances.

Three tasks over the same inputs, half signal and half noise, so that training and held-out figures differ:
`colour` (three classes), `size` (one value) and `shape` (three classes).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.baselines.run import Run
from worker.engine.contract import Batch, Budget, ForgetRequest, ForgetSet, Problem, Recipe, Silent, TaskSpec
from worker.engine.networks import build_network
from worker.engine.tasks import kind_of
from worker.engine.training import train

CPU = torch.device("cpu")
TASKS = (
    TaskSpec("colour", "classification", 3),
    TaskSpec("size", "regression", 1),
    TaskSpec("shape", "classification", 3),
)
TRAIN, HOLDOUT, INPUTS = 96, 64, 16
FORGET = 12
ROWS, OTHERS = torch.arange(FORGET), torch.arange(FORGET, TRAIN)
RECIPE = Recipe(learning_rate=5e-3, epochs=60, batch_size=16, schedule="linear")
SPEC = {"kind": "mlp", "inputs": INPUTS, "hidden": [64, 32]}


class Rows:
    """`Data` in memory."""

    def __init__(self, inputs: Tensor, targets: Mapping[str, Tensor], present: Tensor) -> None:
        self.inputs, self.targets, self._present = inputs, dict(targets), present

    @property
    def ids(self) -> Sequence[str]:
        return [str(row) for row in range(len(self.inputs))]

    @property
    def present(self) -> Tensor:
        return self._present

    def __len__(self) -> int:
        return len(self.inputs)

    def fetch(self, rows: Tensor) -> Batch:
        targets = {name: values[rows] for name, values in self.targets.items()}
        return Batch(self.inputs[rows], targets, self._present[rows])


def make_rows(count: int, seed: int) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, INPUTS, generator=generator)
    targets: dict[str, Tensor] = {}
    for number, task in enumerate(TASKS):
        signal = inputs[:, 3 * number : 3 * number + 3]
        noise = torch.randn(signal.shape, generator=generator)
        if task.kind == "classification":
            targets[task.name] = (signal + noise).argmax(dim=1)
        else:
            targets[task.name] = (signal + noise).sum(dim=1, keepdim=True) / 2
    return Rows(inputs, targets, torch.ones(count, len(TASKS), dtype=torch.bool))


def build(generator: torch.Generator) -> nn.Module:
    return build_network(SPEC, TASKS, generator)


@cache
def _memorised() -> nn.Module:
    network = build(torch.Generator().manual_seed(1))
    data = make_rows(TRAIN, 2)
    train(network, TASKS, data, data.present, RECIPE, seed=3, device=CPU, monitor=Silent())
    return network.eval()


def memorised() -> nn.Module:
    """A copy of the network that has memorised the training rows."""
    return copy.deepcopy(_memorised())


def problem(*requests: tuple[range, tuple[int, ...]], excluded: Sequence[ForgetRequest] = ()) -> Problem:
    """requests: rows and task columns each. Without any, nothing is to be forgotten."""
    made = tuple(
        ForgetRequest(f"request {number}", torch.tensor(list(rows)), columns)
        for number, (rows, columns) in enumerate(requests)
    )
    return Problem(
        network=memorised(),
        build=build,
        tasks=TASKS,
        train=make_rows(TRAIN, 2),
        calibration=make_rows(HOLDOUT, 4),
        forget=ForgetSet(TRAIN, len(TASKS), made, tuple(excluded)),
        recipe=RECIPE,
    )


class Watching(Silent):
    """A monitor that writes down what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.shares: list[float] = []

    def progress(self, done: int, total: int, note: str) -> None:
        self.notes.append(note)
        self.shares.append(done / total)


def same_bits(first: Any, second: Any) -> bool:
    """Two networks, or two modules, with the same state to the bit."""
    left, right = first.state_dict(), second.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def a_run(job: Problem) -> Run:
    return Run(job, Budget(), seed=5, device=CPU, monitor=Silent())


def in_double(job: Problem) -> Problem:
    """The same job in double precision."""
    doubled = {}
    for name in ("train", "calibration"):
        rows: Rows = getattr(job, name)
        targets = {k: v.double() if v.is_floating_point() else v for k, v in rows.targets.items()}
        doubled[name] = Rows(rows.inputs.double(), targets, rows.present)
    return replace(job, network=job.network.double(), **doubled)


def decaying(job: Problem) -> Problem:
    """The same job by a recipe that shrinks all weights, which no method may take over."""
    return replace(job, recipe=replace(job.recipe, weight_decay=0.5))


def gradients(network: nn.Module) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in network.parameters()]


def mean_loss(said: Mapping[str, Tensor], targets: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    kinds = {task.name: kind_of(task) for task in TASKS}
    return torch.stack([kinds[name].losses(said[name], targets[name]).mean() for name in names]).sum()
