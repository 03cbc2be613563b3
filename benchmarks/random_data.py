"""Data of any size, made from a seed, for measuring what things cost: there is nothing in it to learn."""

import torch
from torch import Tensor

from worker.engine.contract import Batch, TaskSpec

TABULAR_TASKS = (
    TaskSpec("digit", "classification", 10),
    TaskSpec("turn", "classification", 4),
    TaskSpec("ink", "regression", 1),
)
DENSE_TASKS = (
    TaskSpec("segmentation", "segmentation", 13),
    TaskSpec("depth", "depth", 1),
    TaskSpec("normal", "normals", 3),
)


class RandomData:
    """`Data` in memory: inputs of one shape, and targets of every built-in kind that the tasks ask for."""

    def __init__(
        self, instances: int, shape: tuple[int, ...], tasks: tuple[TaskSpec, ...], seed: int
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._inputs = torch.randn(instances, *shape, generator=generator)
        self._targets = {task.name: _target(task, instances, shape, generator) for task in tasks}
        self._present = torch.ones(instances, len(tasks), dtype=torch.bool)
        self._ids = [f"instance-{seed}-{row}" for row in range(instances)]

    @property
    def ids(self) -> list[str]:
        return self._ids

    @property
    def present(self) -> Tensor:
        return self._present

    def __len__(self) -> int:
        return len(self._ids)

    def fetch(self, rows: Tensor) -> Batch:
        targets = {name: values[rows] for name, values in self._targets.items()}
        return Batch(self._inputs[rows], targets, self._present[rows])


def _target(task: TaskSpec, count: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    grid = shape[1:]
    match task.kind:
        case "classification":
            return torch.randint(task.outputs, (count,), generator=generator)
        case "segmentation":
            return torch.randint(task.outputs, (count, *grid), generator=generator, dtype=torch.int16)
        case "depth":
            return torch.rand(count, 1, *grid, generator=generator) + 0.5
        case "normals":
            return torch.nn.functional.normalize(torch.randn(count, 3, *grid, generator=generator), dim=1)
        case "regression":
            return torch.randn(count, task.outputs, generator=generator)
    raise ValueError(f"no random targets for tasks of kind {task.kind!r}")
