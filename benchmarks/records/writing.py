"""Write the notes in the format "arrays", training data and holdout, annotated alike."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.grammar import DEPARTMENTS, URGENCIES, make_dialects, make_profiles, write_cases

DEPARTMENT_NOISE = 0.2
URGENCY_NOISE = 0.25
STAY_NOISE = 0.6


@dataclass(frozen=True)
class RecordsPlan:
    """How many notes."""

    train: int = 1000
    val: int = 600


def write_records(folder: Path, plan: RecordsPlan, seed: int) -> Path:
    """`train/` and `val/`: ids, inputs (N, 16) token ids, department, urgency, stay (standardised), and a
    sibling file `train_clinic.npy` with the clusters. The same files for the same plan and seed."""
    generator = np.random.default_rng([seed, 3])
    dialects, profiles = make_dialects(generator), make_profiles(generator)
    cases = write_cases(plan.train + plan.val, dialects, profiles, generator)
    stay = (cases.stay - cases.stay.mean()) / cases.stay.std()
    stay = stay + STAY_NOISE * generator.standard_normal(len(stay))
    arrays = {
        "ids": np.array([f"note-{number:05d}" for number in range(len(stay))]),
        "inputs": cases.tokens,
        "department": _annotate(cases.department, DEPARTMENTS, DEPARTMENT_NOISE, generator),
        "urgency": _annotate(cases.urgency, URGENCIES, URGENCY_NOISE, generator),
        "stay": ((stay - stay.mean()) / stay.std()).astype(np.float32),
    }
    for split, part in (("train", slice(None, plan.train)), ("val", slice(plan.train, None))):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            np.save(folder / split / f"{name}.npy", np.ascontiguousarray(array[part]))
        np.save(folder / f"{split}_clinic.npy", cases.clinic[part])
    return folder


def _annotate(
    labels: NDArray[np.int64], classes: int, noise: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Replace a share of the labels by random ones."""
    wrong = generator.random(len(labels)) < noise
    return np.where(wrong, generator.integers(0, classes, len(labels)), labels).astype(np.int64)
