"""A tiny dense problem: rendered scenes with three dense tasks, a network that has learned them by heart."""

import numpy as np
import torch

from worker.engine.contract import (
    Batch,
    ForgetRequest,
    ForgetSet,
    Problem,
    Recipe,
    Silent,
    TaskSpec,
)
from worker.engine.networks import build_network
from worker.engine.tasks import kind_of
from worker.engine.training import train

TASKS = (
    TaskSpec("segmentation", "segmentation", 3),
    TaskSpec("depth", "depth", 1),
    TaskSpec("normal", "normals", 3),
)
SPEC = {"kind": "segnet", "widths": [8, 16], "depths": [1, 1]}
RECIPE = Recipe(learning_rate=5e-3, epochs=40, batch_size=8)
CPU = torch.device("cpu")
HEIGHT, WIDTH = 16, 24


class Scenes:
    """`Data` of a box before a wall: a noisy image, the box's class, distances, and the box's slant."""

    def __init__(self, instances: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        grid = (instances, HEIGHT, WIDTH)
        labels = np.zeros(grid, dtype=np.int64)
        depth = np.tile(np.linspace(2, 4, WIDTH), (*grid[:2], 1))
        normal = np.zeros((instances, 3, HEIGHT, WIDTH))
        normal[:, 2] = 1
        for row in range(instances):
            top, left = generator.integers(0, HEIGHT - 8), generator.integers(0, WIDTH - 10)
            box = (row, slice(top, top + 8), slice(left, left + 10))
            labels[box] = generator.integers(1, 3)
            depth[box] = generator.uniform(1, 2)
            slant = generator.uniform(-1, 1)
            normal[row, 0, *box[1:]], normal[row, 2, *box[1:]] = np.sin(slant), np.cos(slant)
        noise = generator.normal(scale=0.3, size=(instances, 3, HEIGHT, WIDTH))
        seen = np.stack([labels / 2, depth / 4, labels > 0], axis=1)  # slants cannot be seen, only learned
        self.inputs = torch.from_numpy((seen + noise).astype(np.float32))
        hidden = generator.random(grid) < 0.1
        arrays = {
            "segmentation": np.where(hidden, -1, labels),
            "depth": np.where(hidden, 0, depth),
            "normal": np.where(hidden[:, None], 0, normal),
        }
        read = {task.name: kind_of(task).read(arrays[task.name], task) for task in TASKS}
        self.targets = {name: values for name, (values, _) in read.items()}
        self.present = torch.stack([present for _, present in read.values()], dim=1)
        self.ids = [f"scene-{row}" for row in range(instances)]

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, rows: torch.Tensor) -> Batch:
        targets = {name: values[rows] for name, values in self.targets.items()}
        return Batch(self.inputs[rows], targets, self.present[rows])


def trained_problem(tasks: tuple[int, ...], *, seed: int = 0) -> Problem:
    """24 images; the first four are to be forgotten for the given tasks, the last misses its depth."""
    data, calibration = Scenes(24, seed), Scenes(30, seed + 1000)
    data.targets["depth"][-1] = 0
    data.present[-1, 1] = False

    def build(generator: torch.Generator) -> torch.nn.Module:
        return build_network(SPEC, TASKS, generator)

    network = build(torch.Generator().manual_seed(seed))
    train(network, TASKS, data, data.present, RECIPE, seed=seed, device=CPU, monitor=Silent())
    forget = ForgetSet(24, 3, (ForgetRequest("request", torch.arange(4), tasks),))
    return Problem(network, build, TASKS, data, calibration, forget, RECIPE)
