"""Notes from the grammar: repeatable, readable, and with words that only some clinics use."""

from pathlib import Path

import numpy as np

from benchmarks.records.grammar import LENGTH, VOCABULARY, make_dialects, make_profiles, write_cases
from benchmarks.records.writing import DEPARTMENT_NOISE, RecordsPlan, write_records
from benchmarks.unlearning.sources import RECORDS
from worker.engine.data import open_data


def test_the_same_seed_writes_the_same_files_and_the_engine_reads_them(tmp_path: Path) -> None:
    plan = RecordsPlan(train=60, val=40)
    first, second = (write_records(tmp_path / name, plan, seed=3) for name in ("a", "b"))
    for file in first.rglob("*.npy"):
        assert file.read_bytes() == (second / file.relative_to(first)).read_bytes()
    data = open_data("arrays", first / "train", RECORDS.tasks)
    assert len(data) == 60
    clusters = RECORDS.read_clusters(first)
    assert clusters is not None
    assert len(clusters) == 60


def test_a_share_of_the_labels_is_wrong(tmp_path: Path) -> None:
    folder = write_records(tmp_path, RecordsPlan(train=1500, val=60), seed=0)
    generator = np.random.default_rng([0, 3])
    dialects, profiles = make_dialects(generator), make_profiles(generator)
    truth = write_cases(1560, dialects, profiles, generator)
    wrong = (np.load(folder / "train/department.npy") != truth.department[:1500]).mean()
    assert abs(wrong - DEPARTMENT_NOISE * 7 / 8) < 0.04
    assert truth.tokens.shape == (1560, LENGTH)
    assert truth.tokens.min() > 0
    assert truth.tokens.max() < VOCABULARY
