"""`--nyuv2` and `--cityscapes`: small folders in MTAN's layout, and MTAN's SegNet with few channels."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.unlearning import __main__ as command
from benchmarks.unlearning import held_in_memory
from benchmarks.unlearning.configurations import NOTHING, Configuration
from benchmarks.unlearning.execution import execute
from benchmarks.unlearning.grid import Scale
from benchmarks.unlearning.held_in_memory import HeldInMemory
from benchmarks.unlearning.jobs import Job
from benchmarks.unlearning.problems import ProblemKey, prepare
from benchmarks.unlearning.requests import RequestPlan
from tests.engine.mtan_folders import write_cityscapes, write_nyuv2
from worker.engine.contract import Silent
from worker.engine.evaluation.dense_metrics import DENSE_METRICS

SIZE = (32, 32)  # the least that five levels of pooling leave something of
TRAIN, HELD_OUT = 12, 50
WRITERS: dict[str, Callable[..., Any]] = {"nyuv2": write_nyuv2, "cityscapes": write_cityscapes}
TASKS = {"nyuv2": ["segmentation", "depth", "normal"], "cityscapes": ["segmentation", "depth"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: tmp_path_factory.mktemp(name) for name in WRITERS}
    for name, folder in made.items():
        WRITERS[name](folder / "train", TRAIN, size=SIZE)
        WRITERS[name](folder / "val", HELD_OUT, size=SIZE)
    return made


def small(name: str, folder: Path) -> ProblemKey:
    return ProblemKey(name, seed=0, width=1 / 16, epochs=1, folder=str(folder))


@pytest.mark.parametrize("name", list(WRITERS))
def test_problems_prints_what_a_network_knows_of_a_folder(
    name: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the command; only the network's width and the number of epochs are not its own."""
    chosen = Scale.problem

    def narrow(scale: Scale, source: Any, seed: int) -> ProblemKey:
        return replace(chosen(scale, source, seed), width=1 / 16, epochs=1)

    monkeypatch.setattr(Scale, "problem", narrow)
    monkeypatch.setattr(command, "console", Console(width=200))
    arguments = ["problems", "--sources", name, f"--{name}", str(folders[name]), "--cache", str(tmp_path)]
    found = CliRunner().invoke(command.application, arguments)
    assert found.exit_code == 0, found.output
    printed = [re.split(r"\s*│\s*", line.strip("│ ")) for line in found.output.splitlines() if "│" in line]
    assert [row[2] for row in printed if len(row) == 9] == TASKS[name]
    dense = [row for row in printed if len(row) == 6]
    problem = prepare(small(name, folders[name]), tmp_path)
    figures = [
        (spec.name, each) for spec in problem.specs for each in DENSE_METRICS[spec.kind](spec).figures()
    ]
    assert [(row[2], row[3]) for row in dense] == figures
    for row in dense:
        assert all(float(value) >= 0 for value in row[4:])


def test_the_real_problem_is_mtans(folders: dict[str, Path], tmp_path: Path) -> None:
    """Its network at full width, and its folder; another folder's contents are another problem."""
    problem = prepare(small("nyuv2", folders["nyuv2"]), tmp_path)
    assert problem.source.network(1.0)["widths"] == [64, 128, 256, 512, 512]
    assert problem.identity["network"]["widths"] == [4, 8, 16, 32, 32]
    assert (len(problem.train), len(problem.calibration), len(problem.audit)) == (TRAIN, 25, 25)
    assert problem.recipe.epochs == 1
    assert list(problem.train.ids)[:2] == ["train/0", "train/1"]
    other = tmp_path / "other"
    write_nyuv2(other / "train", TRAIN, seed=1, size=SIZE)
    write_nyuv2(other / "val", HELD_OUT, size=SIZE)
    assert prepare(small("nyuv2", other), tmp_path).identity["data"] != problem.identity["data"]


def test_a_job_on_a_folder_has_a_row(folders: dict[str, Path], tmp_path: Path) -> None:
    """Beside two retrained networks, like any other."""
    key = small("nyuv2", folders["nyuv2"])
    job = Job("base", key, RequestPlan("clustered", "depth", 0.25), NOTHING, Configuration())
    row = execute(job, tmp_path, Silent())
    assert (row["instances"], row["forgotten"]) == (TRAIN, 3)
    assert 0 <= row["scores"]["average_gap"] <= 100


def test_large_folders_stay_on_the_disk(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the network that is trained from there has the same bits."""
    key = small("nyuv2", folders["nyuv2"])
    held = prepare(key, tmp_path / "held")
    everything = held.train.fetch(torch.arange(TRAIN))
    size = sum(
        tensor.numel() * tensor.element_size() for tensor in (everything.inputs, *everything.targets.values())
    )
    assert isinstance(held.train, HeldInMemory)
    monkeypatch.setattr(held_in_memory, "LIMIT_BYTES", size)
    assert isinstance(prepare(key, tmp_path / "held").train, HeldInMemory)
    monkeypatch.setattr(held_in_memory, "LIMIT_BYTES", size - 1)
    lazy = prepare(key, tmp_path / "lazy")
    assert not isinstance(lazy.train, HeldInMemory)
    states = (held.network.state_dict(), lazy.network.state_dict())
    assert all(torch.equal(values, states[1][name]) for name, values in states[0].items())
    files = [next((tmp_path / name / "networks").glob("*.safetensors")).name for name in ("held", "lazy")]
    assert files[0] == files[1]
