"""The data sets, each with the network and the recipe that learn it. Formats are the engine's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.records.grammar import DEPARTMENTS, LENGTH, URGENCIES, VOCABULARY
from benchmarks.records.writing import RecordsPlan, write_records
from benchmarks.scenes.classes import CLASSES
from benchmarks.scenes.writing import ScenesPlan, write_scenes
from examples.digits.data import NETWORK, RECIPE, TASKS, write_digits
from worker.engine.contract import Recipe, TaskSpec


@dataclass(frozen=True)
class Source:
    """One data set. `write` makes it in a folder from a seed; None: it lies in `folder` already.

    train, holdout: paths in the folder. clusters: file (N,) of the training instances' clusters, or None,
    when clusters are instances whose inputs are near. code: the modules that determine the data.
    network: its specification at a width, 1 for the standard one. standard: run unless others are asked for.
    """

    name: str
    format: str
    tasks: tuple[TaskSpec, ...]
    network: Callable[[float], Mapping[str, Any]]
    recipe: Recipe
    code: tuple[str, ...]
    write: Callable[[Path, int], object] | None = None
    folder: Path | None = None
    train: str = "train"
    holdout: str = "val"
    clusters: str | None = None
    standard: bool = True

    def read_clusters(self, folder: Path) -> Tensor | None:
        if self.clusters is None:
            return None
        return torch.from_numpy(np.load(folder / self.clusters).astype(np.int64))


def _digits_network(width: float) -> Mapping[str, Any]:
    return {**NETWORK, "hidden": [round(size * width) for size in NETWORK["hidden"]]}


def _records_network(width: float) -> Mapping[str, Any]:
    config = {
        "model_type": "distilbert",
        "vocab_size": VOCABULARY,
        "max_position_embeddings": LENGTH,
        "dim": round(64 * width),
        "hidden_dim": round(128 * width),
        "n_layers": 2,
        "n_heads": 4,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    return {"kind": "transformers", "config": config}


def _segnet(width: float, widths: tuple[int, ...], depths: tuple[int, ...]) -> Mapping[str, Any]:
    return {
        "kind": "segnet",
        "channels": 3,
        "widths": [round(size * width) for size in widths],
        "depths": list(depths),
    }


def _dense_tasks(classes: int, *, normals: bool) -> tuple[TaskSpec, ...]:
    tasks = (TaskSpec("segmentation", "segmentation", classes), TaskSpec("depth", "depth", 1))
    return (*tasks, TaskSpec("normal", "normals", 3)) if normals else tasks


DIGITS = Source(
    name="digits",
    format="arrays",
    tasks=tuple(TaskSpec(**task) for task in TASKS),
    network=_digits_network,
    recipe=Recipe(**RECIPE),
    code=("examples.digits.data",),
    write=write_digits,
    holdout="holdout",
)

RECORDS = Source(
    name="records",
    format="arrays",
    tasks=(
        TaskSpec("department", "classification", DEPARTMENTS),
        TaskSpec("urgency", "classification", URGENCIES),
        TaskSpec("stay", "regression", 1),
    ),
    network=_records_network,
    recipe=Recipe(learning_rate=2e-3, epochs=30, batch_size=32, schedule="linear"),
    code=("benchmarks.records.writing",),
    write=lambda folder, seed: write_records(folder, RecordsPlan(), seed),
    clusters="train_clinic.npy",
)

MANY_RECORDS = replace(
    RECORDS,
    name="records_10000",
    write=lambda folder, seed: write_records(folder, RecordsPlan(train=10_000), seed),
    standard=False,
)
"""Ten times as many of the same: what retraining has to go through grows, what is forgotten need not."""


SCENES = Source(
    name="scenes",
    format="nyuv2",
    tasks=_dense_tasks(len(CLASSES), normals=True),
    network=lambda width: _segnet(width, (16, 32, 64), (1, 1, 1)),
    recipe=Recipe(learning_rate=4e-3, epochs=40, batch_size=16, schedule="linear"),
    code=("benchmarks.scenes.writing",),
    write=lambda folder, seed: write_scenes(folder, ScenesPlan(), seed),
    clusters="train/style.npy",
)


def nyuv2(folder: Path) -> Source:
    """Real NYUv2 as MTAN published it, with MTAN's SegNet. Meant for machines with time."""
    return Source(
        name="nyuv2",
        format="nyuv2",
        tasks=_dense_tasks(13, normals=True),
        network=lambda width: _segnet(width, (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)),
        recipe=Recipe(learning_rate=1e-4, epochs=100, batch_size=2, schedule="linear"),
        code=(),
        folder=folder,
    )


def cityscapes(folder: Path) -> Source:
    """Real Cityscapes as MTAN published it: segmentation in 7 classes and inverse depth."""
    return Source(
        name="cityscapes",
        format="cityscapes",
        tasks=_dense_tasks(7, normals=False),
        network=lambda width: _segnet(width, (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)),
        recipe=Recipe(learning_rate=1e-4, epochs=100, batch_size=8, schedule="linear"),
        code=(),
        folder=folder,
    )


def known_sources(folders: Mapping[str, str] | None = None) -> dict[str, Source]:
    """By name. folders: where real data sets lie, by the name of their format ("nyuv2", "cityscapes")."""
    real = {"nyuv2": nyuv2, "cityscapes": cityscapes}
    found = [DIGITS, SCENES, RECORDS, MANY_RECORDS]
    found += [real[name](Path(folder)) for name, folder in (folders or {}).items() if name in real]
    return {source.name: source for source in found}
