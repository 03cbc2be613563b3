"""What a step costs beside a step of fine-tuning over the same instances: python -m benchmarks.step_cost

Per network: many steps of fine-tuning, of our method with the guards idle and of ours with both engaged, one
after the other, again and again; shown is the median of the ratios of their processor times, on one thread.
Engaged includes the share of a step in estimating the tasks' subspaces, which is done every 100 steps.
Networks are not trained: it makes no difference. Writes benchmarks/results/step_cost.md.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.random_data import DENSE_TASKS, TABULAR_TASKS
from benchmarks.stepping import FineTuning, Setting, make_problem, make_unlearning
from worker.engine.unlearning import BASIS_LIFETIME

RESULTS = Path(__file__).parent / "results" / "step_cost.md"
CPU = torch.device("cpu")

MLP = Setting(
    "MLP of the digits", {"kind": "mlp", "inputs": 64, "hidden": [256, 128]}, (1, 8, 8), TABULAR_TASKS
)
WIDE = replace(MLP, name="MLP, two layers of 1,024", network={**MLP.network, "hidden": [1024, 1024]})
SEGNET = Setting(
    "SegNet of the scenes, 24 x 32",
    {"kind": "segnet", "widths": [16, 32, 64], "depths": [1, 1, 1]},
    (3, 24, 32),
    DENSE_TASKS,
    recipe_batch=16,
)
RESNET = Setting(
    "ResNet-50 at a quarter of its width, 64 x 96",
    {"kind": "deeplab", "widths": [64, 128, 256, 512], "stem": 16, "head_width": 64},
    (3, 64, 96),
    DENSE_TASKS,
    instances=192,
    forget=16,
    recipe_batch=8,
)
# How often to begin anew, and how many pairs of steps each time: fewer than a basis lives.
PLAN = ((MLP, 5, 90), (WIDE, 2, 60), (SEGNET, 2, 30), (RESNET, 1, 8))
HEADER = """| network | forgotten tasks | fine-tuning, ms | idle | engaged | of which subspaces |
|---|---|---:|---:|---:|---:|
"""


@dataclass(frozen=True)
class Found:
    """milliseconds of a fine-tuning step; ratios to it."""

    milliseconds: float
    idle: float
    engaged: float
    subspaces: float

    def row(self, setting: Setting) -> str:
        tasks = f"{len(setting.named)} of {len(setting.tasks)}"
        return (
            f"| {setting.name} | {tasks} | {self.milliseconds:.1f} | {self.idle:.2f} |"
            f" {self.engaged:.2f} | {self.subspaces:.2f} |\n"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for setting, rounds, pairs in PLAN:
        for named in (setting.named, setting.named[:1]):
            asked = replace(setting, named=named)
            rows.append(compare(asked, rounds, pairs).row(asked))
            print(rows[-1], end="", flush=True)
    machine = f"{os.cpu_count()} cores, {platform.machine()}; Python {platform.python_version()}"
    options.output.write_text(
        f"# What a step costs\n\n`python -m benchmarks.step_cost`; {machine}, torch {version('torch')}, one "
        f"thread. A step is over {MLP.instances_per_step} instances, {MLP.batch} of them forgotten. Ratios "
        "of processor time to a step of fine-tuning over the same instances, medians over interleaved pairs; "
        f"guards idle, and engaged with their share of estimating subspaces every {BASIS_LIFETIME} steps. "
        "The original's answers are looked up where rows recur, and computed on the ResNet-50. "
        "Targets: 1.3 idle, 2 engaged.\n\n" + HEADER + "".join(rows)
    )


def compare(setting: Setting, rounds: int, pairs: int) -> Found:
    """Medians over `rounds` x `pairs` interleaved steps."""
    problem = make_problem(setting)
    plain: list[float] = []
    idle: list[float] = []
    engaged: list[float] = []
    first: list[float] = []
    for _ in range(rounds):
        quiet, guarded = (
            make_unlearning(problem, setting, CPU, steps=pairs + 2, guarded=both) for both in (False, True)
        )
        training = FineTuning(problem, CPU)
        quiet.step()
        first.append(_seconds(guarded.step))
        for _ in range(pairs):
            rows = quiet.rows_of_step
            plain.append(_seconds(partial(training.step, rows)))
            idle.append(_seconds(quiet.step) / plain[-1])
            engaged.append(_seconds(guarded.step) / plain[-1])
    usual = statistics.median(plain)
    subspaces = (statistics.median(first) / usual - statistics.median(engaged)) / BASIS_LIFETIME
    return Found(1e3 * usual, statistics.median(idle), statistics.median(engaged) + subspaces, subspaces)


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
