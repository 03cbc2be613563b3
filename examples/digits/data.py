"""The demonstration's data: scikit-learn's digits, given three tasks and the noise of real annotation.

Each image is turned by 0, 90, 180 or 270 degrees. Tasks: which `digit` (10 classes), which `turn`
(4 classes) and how much `ink` (a real number, standardised): neither of the latter two is a function of the
digit. A part of the labels is wrong, as where people annotate; a network can only know those by heart.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

TRAINING_INSTANCES = 1000
DIGIT_NOISE = 0.25
TURN_NOISE = 0.3
INK_NOISE = 0.7

TASKS: tuple[dict[str, Any], ...] = (
    {"name": "digit", "kind": "classification", "outputs": 10},
    {"name": "turn", "kind": "classification", "outputs": 4},
    {"name": "ink", "kind": "regression", "outputs": 1},
)
NETWORK: dict[str, Any] = {"kind": "mlp", "inputs": 64, "hidden": [256, 128]}
RECIPE: dict[str, Any] = {
    "optimizer": "adam",
    "learning_rate": 4e-3,
    "epochs": 60,
    "batch_size": 32,
    "schedule": "linear",
}


@dataclass(frozen=True)
class DigitsData:
    """Folders in the format "arrays"."""

    train: Path
    holdout: Path


def write_digits(folder: Path, seed: int = 0) -> DigitsData:
    """Write the training data and the holdout (all other scans) below `folder`."""
    generator = np.random.default_rng(seed)
    digits = load_digits()
    count = len(digits.target)
    order = generator.permutation(count)
    images = (digits.images[order] / 16).astype(np.float32)
    turns = generator.integers(0, 4, count)
    ink = images.reshape(count, -1).mean(axis=1)
    ink = (ink - ink.mean()) / ink.std() + INK_NOISE * generator.standard_normal(count)
    arrays = {
        "ids": np.array([f"scan-{number:04d}" for number in order]),
        "inputs": np.stack([np.rot90(image, turn) for image, turn in zip(images, turns, strict=True)]),
        "digit": _annotate(digits.target[order], 10, DIGIT_NOISE, generator),
        "turn": _annotate(turns, 4, TURN_NOISE, generator),
        "ink": ((ink - ink.mean()) / ink.std()).astype(np.float32),
    }
    written = DigitsData(folder / "train", folder / "holdout")
    for path, part in (
        (written.train, slice(None, TRAINING_INSTANCES)),
        (written.holdout, slice(TRAINING_INSTANCES, None)),
    ):
        path.mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", np.ascontiguousarray(array[part]))
    return written


def _annotate(
    labels: np.ndarray[Any, Any], classes: int, noise: float, generator: np.random.Generator
) -> np.ndarray[Any, Any]:
    """Replace a share of the labels by random ones."""
    wrong = generator.random(len(labels)) < noise
    return np.where(wrong, generator.integers(0, classes, len(labels)), labels).astype(np.int64)
