"""How a job's cost grows: python -m benchmarks.growth

With the number of forgotten instances, of instances in the data, of tasks and of parameters, one at a time
around 100 forgotten of 10,000 with two tasks: memory-mapped arrays of up to a million instances, a small
fully connected network. Counted are passes, and rows of the training data that the job fetches; timed, in
processor seconds, is what a worker does for a job: recognise the data, open it, unlearn and evaluate.
Beside it, what reading the data whole takes (once per worker), and the passes of a retraining.

Writes benchmarks/results/growth.md and growth.png. The largest data set takes 250 MB below the folder for
temporary files.
"""

import argparse
import os
import platform
import tempfile
import time
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.growth_plot import plot_growth
from benchmarks.large_arrays import INPUTS, tasks_of, write_large_arrays
from worker.engine.contract import Batch, Budget, Data, ForgetRequest, ForgetSet, Problem, Recipe, Silent
from worker.engine.data import Subset, open_data, split_holdout
from worker.engine.evaluation import evaluate
from worker.engine.interference_aware import InterferenceAware
from worker.engine.networks import build_network, count_parameters
from worker.engine.training import train
from worker.pipeline import verification

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
RECIPE = Recipe(learning_rate=2e-3, epochs=20, batch_size=32, schedule="linear")
LEARNED = 2000  # instances that the network is trained on; to the others it generalises
COLUMNS = (
    "growing", "forgotten", "instances", "tasks", "parameters", "passes", "rows fetched", "violations",
    "recognise, s", "open, s", "unlearn, s", "evaluate, s", "read whole, s", "passes of retraining",
)  # fmt: skip
HEADER = "| " + " | ".join(COLUMNS) + " |\n|---" + "|---:" * (len(COLUMNS) - 1) + "|\n"


@dataclass(frozen=True)
class Size:
    """One job. hidden: widths of the network's layers."""

    forget: int = 100
    instances: int = 10_000
    tasks: int = 2
    hidden: int = 64


BASE = Size()
AXES: dict[str, tuple[Size, ...]] = {
    "forgotten": tuple(replace(BASE, forget=count) for count in (10, 100, 1000)),
    "instances": tuple(replace(BASE, instances=count) for count in (10_000, 100_000, 1_000_000)),
    "tasks": tuple(replace(BASE, tasks=count) for count in (1, 2, 4, 8)),
    "parameters": tuple(replace(BASE, hidden=width) for width in (64, 256, 1024)),
}


@dataclass
class Counting:
    """`Data` that counts the rows it is asked for."""

    data: Data
    rows: int = 0
    ids: Any = field(init=False)

    def __post_init__(self) -> None:
        self.ids = self.data.ids

    @property
    def present(self) -> Tensor:
        return self.data.present

    def __len__(self) -> int:
        return len(self.data)

    def fetch(self, rows: Tensor) -> Batch:
        self.rows += len(rows)
        return self.data.fetch(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[Size, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in dict.fromkeys(size for sizes in AXES.values() for size in sizes):
            found[size] = run_job(size, Path(folder))
            print(size, found[size], flush=True)
    plot_growth(AXES, found, options.output / "growth.png")
    machine = f"{os.cpu_count()} cores, {platform.machine()}; Python {platform.python_version()}"
    rows = [_row(axis, size, found[size]) for axis, sizes in AXES.items() for size in sizes]
    (options.output / "growth.md").write_text(
        f"# How a job's cost grows\n\n`python -m benchmarks.growth`; {machine}, torch {version('torch')}, "
        "one thread, processor seconds. Rows fetched count repetitions. From the first violation of the "
        "trust region on, a step costs more: both guards are engaged.\n\n" + HEADER + "".join(rows) + "\n"
        "![growth](growth.png)\n"
    )


def run_job(size: Size, folder: Path) -> dict[str, float]:
    """As a worker does it, from the files of the data to the evaluation of the new network."""
    specs, cache = tasks_of(size.tasks), folder / "cache"
    path = folder / f"{size.instances}-{size.tasks}"
    held = folder / f"held-{size.tasks}"
    if not path.exists():
        write_large_arrays(path, size.instances, size.tasks, seed=1, noisy=LEARNED)
        write_large_arrays(held, 400, size.tasks, seed=2, noisy=400, prefix="held")
        time.sleep(verification._SETTLED_SECONDS + 0.5)  # files that changed a moment ago are not trusted
    seconds: dict[str, float] = {}

    def timed(name: str, work: partial[Any]) -> Any:
        start = time.process_time()
        result = work()
        seconds[name] = time.process_time() - start
        return result

    described = timed("whole", partial(verification.describe_and_remember, "arrays", path, cache))
    same = partial(verification.has_fingerprint, "arrays", path, described.fingerprint, cache)
    assert timed("recognise", same)
    data = Counting(timed("open", partial(open_data, "arrays", path, specs)))
    calibration, audit = split_holdout(open_data("arrays", held, specs), specs, 0)
    shape = {"kind": "mlp", "inputs": INPUTS, "hidden": [size.hidden, size.hidden]}
    build = partial(build_network, shape, specs)
    network = build(torch.Generator().manual_seed(0))
    learned = Subset(data.data, torch.arange(LEARNED))
    train(network, specs, learned, learned.present, RECIPE, seed=0, device=CPU, monitor=Silent())
    request = ForgetRequest("request", torch.arange(size.forget), tuple(range(size.tasks)))
    forget = ForgetSet(size.instances, size.tasks, (request,))
    problem = Problem(network.eval(), build, specs, data, calibration, forget, RECIPE)
    method = partial(InterferenceAware(), problem, Budget(), seed=0, device=CPU, monitor=Silent())
    outcome = timed("unlearn", method)
    timed("evaluate", partial(
        evaluate, network, outcome.network, tasks=specs, train=data, audit=audit, forget=forget,
        seed=0, device=CPU, monitor=Silent(),
    ))  # fmt: skip
    return {
        **seconds,
        "passes": outcome.passes,
        "rows": data.rows,
        "violations": outcome.details["trust_region"]["violations"],
        "parameters": count_parameters(shape, specs),
        "retraining": RECIPE.epochs * (size.instances - size.forget),
    }


def _row(axis: str, size: Size, found: dict[str, float]) -> str:
    counts: list[float] = [size.forget, size.instances, size.tasks]
    counts += [found[name] for name in ("parameters", "passes", "rows", "violations")]
    times = [found[name] for name in ("recognise", "open", "unlearn", "evaluate", "whole")]
    cells = [*(f"{value:,.0f}" for value in counts), *(f"{value:.3f}" for value in times)]
    return f"| {axis} | " + " | ".join([*cells, f"{found['retraining']:,.0f}"]) + " |\n"


if __name__ == "__main__":
    main()
