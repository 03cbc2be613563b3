"""Readers show that they are alive, file by file or block by block."""

from pathlib import Path

import numpy as np
import pytest

from worker.engine.contract import Interrupted, TaskSpec
from worker.engine.data import alive, describe, listening, open_data

INSTANCES = 5


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    path = tmp_path / "arrays"
    path.mkdir()
    np.save(path / "ids.npy", np.arange(INSTANCES))
    np.save(path / "inputs.npy", np.zeros((INSTANCES, 1 << 18), np.float32))
    np.save(path / "colour.npy", np.zeros(INSTANCES, np.int64))
    return path


@pytest.fixture
def split(tmp_path: Path) -> Path:
    path = tmp_path / "train"
    for folder, array in {"image": np.zeros((2, 2, 3), np.float32), "depth": np.ones((2, 2))}.items():
        (path / folder).mkdir(parents=True)
        for number in range(INSTANCES):
            np.save(path / folder / f"{number}.npy", array)
    return path


def test_arrays_block_by_block(arrays: Path) -> None:
    signs: list[None] = []
    with listening(lambda: signs.append(None)):
        describe("arrays", arrays)
    assert len(signs) >= 5  # five megabytes


def test_a_split_folder_file_by_file(split: Path) -> None:
    signs: list[None] = []
    with listening(lambda: signs.append(None)):
        describe("nyuv2", split)
        assert len(signs) >= 2 * INSTANCES
        signs.clear()
        open_data("nyuv2", split, (TaskSpec("depth", "depth", 1),))
        assert len(signs) >= INSTANCES


@pytest.mark.parametrize("format", ["arrays", "nyuv2"])
def test_whoever_listens_may_stop_the_reading(arrays: Path, split: Path, format: str) -> None:
    def stop() -> None:
        raise Interrupted

    with pytest.raises(Interrupted), listening(stop):
        describe(format, arrays if format == "arrays" else split)


def test_without_a_listener_nothing_happens() -> None:
    with listening(lambda: pytest.fail("nobody listens any more")):
        pass
    alive()
