"""What requests cost that share a job: python -m benchmarks.coalescing --seeds 3

Processor time of the engine (unlearning and evaluation) for one request of 100 instances, for 100 requests
of one instance each of the same 100, and for one of those alone, on the digits of the demonstration. The
runs are interleaved. Writes benchmarks/results/coalescing.md. Seeds from 100 up are for development.
"""

import argparse
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import mean

import torch
from torch import nn

from benchmarks.sequence import CPU, NETWORK, RECIPE, SPECS
from examples.digits.training import Workshop, open_workshop, train_network
from worker.engine.contract import Budget, ForgetRequest, ForgetSet, Problem, Recipe, Silent
from worker.engine.data import split_holdout
from worker.engine.evaluation import evaluate
from worker.engine.methods import METHODS
from worker.engine.networks import build_network

RESULTS = Path(__file__).parent / "results" / "coalescing.md"
INSTANCES = 100
SHAPES = {"1 request of 100": (1, 100), "100 requests of 1": (100, 1), "1 request of 1": (1, 1)}
Seconds = tuple[float, float]  # unlearning, evaluating


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[Seconds]] = {name: [] for name in SHAPES}
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            workshop = open_workshop(Path(folder), seed)
            network = train_network(workshop, seed=seed)
            for name, (requests, instances) in SHAPES.items():
                found[name].append(_job(workshop, network, requests, instances, seed))
                print(f"seed {seed}: {name}: {sum(found[name][-1]):.2f} s", flush=True)
    report = _report(found, options)
    RESULTS.write_text(report)
    print(report)


def _job(workshop: Workshop, network: nn.Module, requests: int, instances: int, seed: int) -> Seconds:
    every = tuple(range(len(SPECS)))
    forget = ForgetSet(
        len(workshop.train),
        len(SPECS),
        tuple(
            ForgetRequest(
                f"request-{number}", torch.arange(number * instances, (number + 1) * instances), every
            )
            for number in range(requests)
        ),
    )
    calibration, audit = split_holdout(workshop.holdout, SPECS, seed)
    problem = Problem(
        network=network,
        build=lambda generator: build_network(NETWORK, SPECS, generator),
        tasks=SPECS,
        train=workshop.train,
        calibration=calibration,
        forget=forget,
        recipe=Recipe(**RECIPE),
    )
    began = time.process_time()
    outcome = METHODS["interference_aware"](problem, Budget(), seed=seed, device=CPU, monitor=Silent())
    made = time.process_time()
    evaluate(
        network, outcome.network, tasks=SPECS, train=workshop.train, audit=audit, forget=forget, seed=seed,
        device=CPU, monitor=Silent(),
    )  # fmt: skip
    return made - began, time.process_time() - made


def _report(found: dict[str, list[Seconds]], options: argparse.Namespace) -> str:
    whole = {name: mean(sum(each) for each in seconds) for name, seconds in found.items()}
    one, many, single = whole.values()
    rows = "".join(
        f"| {name} | {mean(each[0] for each in seconds):.2f} | {mean(each[1] for each in seconds):.2f} |"
        f" {whole[name]:.2f} | {whole[name] / one:.2f} |\n"
        for name, seconds in found.items()
    )
    return (
        "# Requests that share a job\n\n"
        f"`python -m benchmarks.coalescing --seeds {options.seeds}`; {os.cpu_count()} cores, "
        f"{platform.machine()}, torch {version('torch')}, one thread. "
        "Processor seconds of the engine, means.\n\n"
        "| job | unlearning | evaluating | both | of one request of 100 |\n|---|---:|---:|---:|---:|\n"
        f"{rows}\n100 requests of one instance in one job cost {many / one:.2f} times as much as one "
        f"request of 100 instances. One after the other they would cost {100 * single / many:.0f} times "
        "as much as together.\n"
    )


if __name__ == "__main__":
    main()
