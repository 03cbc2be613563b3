"""What deletion requests of a few instances cost the rest: python -m benchmarks.small_requests --seeds 3

Per seed: the digits of the demonstration and a network trained on them; then requests of 1, 4, 12 and 50
instances, several of each size, for all tasks and for one. Shown are means over them, and the worst: how many
points the retained and the held-out data lost, and what became of the forgotten. Writes
benchmarks/results/small_requests.md. Seeds from 100 up are for development; results are of seeds 0, 1, 2, …
"""

import argparse
import os
import platform
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from examples.digits.comparison import forget_set
from examples.digits.data import NETWORK, RECIPE
from examples.digits.training import CPU, SPECS, Workshop, open_workshop, train_network
from worker.engine.contract import Budget, Problem, Recipe, Silent
from worker.engine.data import split_holdout
from worker.engine.evaluation import evaluate
from worker.engine.methods import METHODS
from worker.engine.networks import build_network

RESULTS = Path(__file__).parent / "results" / "small_requests.md"
SIZES = {1: 8, 4: 4, 12: 3, 50: 2}  # instances in a request: how many such requests per seed
TASKS = {"all": [spec.name for spec in SPECS], "digit": ["digit"]}
HEADER = """| instances | tasks | task | forgotten before → after | retained, mean (worst) | held out |
|---:|---|---|---:|---:|---:|
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(options.first, options.first + options.seeds)
    found: dict[tuple[int, str], list[dict[str, Any]]] = {(n, t): [] for n in SIZES for t in TASKS}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            workshop = open_workshop(Path(folder), seed)
            network = train_network(workshop, seed=seed)
            for size, tasks in found:
                for index in range(SIZES[size]):
                    chosen = workshop.train.ids[index * size : (index + 1) * size]
                    found[size, tasks].append(_delete(workshop, network, list(chosen), TASKS[tasks], seed))
                print(f"seed {seed}: {size} instances, {tasks}: done", flush=True)
    machine = f"{os.cpu_count()} cores, {platform.machine()}; Python {platform.python_version()}"
    report = (
        "# Small requests\n\n"
        f"`python -m benchmarks.small_requests --seeds {options.seeds}`; seeds {list(seeds)}; {machine}, "
        f"torch {version('torch')}, one thread. Points of each task's metric, after minus before.\n\n"
        + HEADER
        + "".join(_rows(size, tasks, reports) for (size, tasks), reports in found.items())
    )
    RESULTS.write_text(report)
    print(report)


def _delete(
    workshop: Workshop, network: nn.Module, instances: list[str], tasks: list[str], seed: int
) -> dict[str, Any]:
    calibration, audit = split_holdout(workshop.holdout, SPECS, seed)
    forget = forget_set(workshop, instances, tasks)
    problem = Problem(
        network=network,
        build=lambda generator: build_network(NETWORK, SPECS, generator),
        tasks=SPECS,
        train=workshop.train,
        calibration=calibration,
        forget=forget,
        recipe=Recipe(**RECIPE),
    )
    outcome = METHODS["interference_aware"](problem, Budget(), seed=seed, device=CPU, monitor=Silent())
    return evaluate(
        network,
        outcome.network,
        tasks=SPECS,
        train=workshop.train,
        audit=audit,
        forget=forget,
        seed=seed,
        device=CPU,
        monitor=Silent(),
    )["tasks"]


def _rows(size: int, tasks: str, reports: list[dict[str, Any]]) -> str:
    lines = []
    for spec in SPECS:
        found = [report[spec.name] for report in reports]
        retained = [_change(each["retain"]) for each in found]
        held_out = [_change(each["holdout"]) for each in found]
        forgotten = "not named"
        if found[0]["forget"] is not None:
            before, after = (
                statistics.mean(each["forget"][when]["value"] for each in found)
                for when in ("before", "after")
            )
            forgotten = f"{before:.0f} → {after:.0f}"
        lines.append(
            f"| {size} | {tasks} | {spec.name} | {forgotten} |"
            f" {statistics.mean(retained):+.1f} ({min(retained):+.1f}) | {statistics.mean(held_out):+.1f} |\n"
        )
    return "".join(lines)


def _change(part: dict[str, Any]) -> float:
    return float(part["after"]["value"] - part["before"]["value"])


if __name__ == "__main__":
    main()
