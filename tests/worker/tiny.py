"""A data set and a network so small that a whole run takes tenths of a second."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from worker.engine.checkpoint import new_layout, write_checkpoint
from worker.engine.contract import Recipe, Silent, TaskSpec
from worker.engine.data import open_data
from worker.engine.networks import build_network
from worker.engine.training import train

TRAIN, HOLDOUT, INPUTS = 240, 140, 6
NETWORK = {"kind": "mlp", "inputs": INPUTS, "hidden": [24]}
TASKS = (TaskSpec("colour", "classification", 3), TaskSpec("size", "regression", 1))
RECIPE = {"optimizer": "adam", "learning_rate": 0.01, "epochs": 4, "batch_size": 32}


@dataclass(frozen=True)
class Tiny:
    """Where the files lie. Training ids are p0, p1, …; p3 has no `size`."""

    folder: Path

    @property
    def train(self) -> Path:
        return self.folder / "train.npz"

    @property
    def holdout(self) -> Path:
        return self.folder / "holdout.npz"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"


def make_tiny(folder: Path) -> Tiny:
    tiny = Tiny(folder)
    generator = np.random.default_rng(5)
    weights = generator.normal(size=(INPUTS, 3))
    for path, prefix, count in ((tiny.train, "p", TRAIN), (tiny.holdout, "h", HOLDOUT)):
        inputs = generator.normal(size=(count, INPUTS)).astype(np.float32)
        size = inputs.sum(axis=1) + generator.normal(size=count, scale=0.1)
        if prefix == "p":
            size[3] = np.nan
        np.savez(
            path,
            ids=np.array([f"{prefix}{number}" for number in range(count)]),
            inputs=inputs,
            colour=(inputs @ weights).argmax(axis=1),
            size=size.astype(np.float32),
        )
    network = build_network(NETWORK, TASKS, torch.Generator().manual_seed(1))
    data = open_data("arrays", tiny.train, TASKS)
    train(
        network,
        TASKS,
        data,
        data.present,
        Recipe(**RECIPE),
        seed=1,
        device=torch.device("cpu"),
        monitor=Silent(),
    )
    write_checkpoint(tiny.checkpoint, network, new_layout(network, {"made": "for tests"}))
    return tiny
