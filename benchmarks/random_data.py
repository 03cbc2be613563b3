"""Data of any size, made from a seed, for measuring what things cost: there is nothing in it to learn."""

import torch
from torch import Tensor

from worker.engine.contract import TaskSpec
from worker.engine.data.arrays import ArraysData

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


def random_data(instances: int, shape: tuple[int, ...], tasks: tuple[TaskSpec, ...], seed: int) -> ArraysData:
    """Inputs of one shape, and targets of every built-in kind that the tasks ask for, in memory."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(instances, *shape, generator=generator)
    return ArraysData(
        [f"instance-{seed}-{row}" for row in range(instances)],
        inputs.numpy(),
        {task.name: _target(task, instances, shape, generator) for task in tasks},
        torch.ones(instances, len(tasks), dtype=torch.bool),
    )


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
