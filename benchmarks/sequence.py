"""Twenty deletion requests in a row, each unlearned from the version before: python -m benchmarks.sequence

The digits of the demonstration, requests of 20 instances, in turn for all tasks and for one. As the worker
does it, with what came back beyond a bound unlearned again in the same job, for two bounds; without; and
beside a network retrained without all that was forgotten so far. Writes benchmarks/results/sequence.md and
.png. One thread; seeds from 100 up are for development. The plot is of the first seed.
"""

import argparse
import os
import platform
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.sequence_report import RETRAINED, plot_sequence, table
from examples.digits.data import NETWORK, RECIPE
from examples.digits.training import CPU, SPECS, Workshop, open_workshop, train_network
from worker.engine.contract import Budget, Data, ForgetRequest, ForgetSet, Problem, Recipe, Silent
from worker.engine.data import split_holdout
from worker.engine.evaluation import evaluate
from worker.engine.methods import METHODS
from worker.engine.networks import build_network
from worker.pipeline.gates import EARLIER, missed_gates
from worker.pipeline.unlearn import Back, with_what_came_back

RESULTS = Path(__file__).parent / "results"
REQUESTS, INSTANCES = 20, 20
BOUNDS = {"again beyond 0": 0.0, "again beyond 10": 10.0, "not again": None}
NAMES = [spec.name for spec in SPECS]


@dataclass
class Line:
    """One line of versions. levels: per request, its accuracy on the digit task after each version from its
    own on. Of each version: retained (per task), disagreement with retraining on held-out digits, in points;
    the lead of all earlier requests over the holdout; how many requests had come back."""

    levels: list[list[float]] = field(default_factory=list)
    holdout: list[float] = field(default_factory=list)
    retained: list[dict[str, float]] = field(default_factory=list)
    drift: list[float] = field(default_factory=list)
    earlier: list[float | None] = field(default_factory=list)
    again: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    seeds = range(options.first, options.first + options.seeds)
    runs, apart = zip(*[_run(seed, options.requests) for seed in seeds], strict=True)
    plot_sequence(runs[0], apart[0], RESULTS / "sequence.png")
    machine = f"{os.cpu_count()} cores, {platform.machine()}; torch {version('torch')}, one thread"
    text = table(runs, options, machine, apart, time.process_time() - started)
    (RESULTS / "sequence.md").write_text(text)
    print(text)


def _run(seed: int, count: int) -> tuple[dict[str, Line], float]:
    """The lines by name, and how far two networks are apart that were retrained from different seeds."""
    with tempfile.TemporaryDirectory() as folder:
        workshop = open_workshop(Path(folder), seed)
        halves = split_holdout(workshop.holdout, SPECS, seed)
        original = train_network(workshop, seed=seed)
        requests = _requests(count)
        references = [
            train_network(workshop, _forget(workshop, requests[: number + 1]), seed=seed + 1)
            for number in range(count)
        ]
        other = train_network(workshop, _forget(workshop, requests), seed=seed + 2)
        lines = {
            name: _walk(workshop, original, halves, requests, references, seed, bound)
            for name, bound in BOUNDS.items()
        }
        lines[RETRAINED] = _beside(workshop, original, references, halves[1], requests, seed)
        return lines, _disagreement(other, references[-1], halves[1])


def _requests(count: int) -> list[ForgetRequest]:
    """Rows are in random order already: the data are shuffled by their seed."""
    every, one = tuple(range(len(SPECS))), (0,)
    return [
        ForgetRequest(
            f"request-{number + 1}",
            torch.arange(number * INSTANCES, (number + 1) * INSTANCES),
            every if number % 2 == 0 else one,
        )
        for number in range(count)
    ]


def _forget(workshop: Workshop, requests: list[ForgetRequest]) -> ForgetSet:
    """The last of them now, the others before."""
    return ForgetSet(len(workshop.train), len(SPECS), (requests[-1],), tuple(requests[:-1]))


def _walk(
    workshop: Workshop,
    original: nn.Module,
    halves: tuple[Data, Data],
    requests: list[ForgetRequest],
    references: list[nn.Module],
    seed: int,
    bound: float | None,
) -> Line:
    """bound: None unlearns nothing again."""
    line, base = Line(), original
    for number in range(len(requests)):
        forget = _forget(workshop, requests[: number + 1])
        began = time.process_time()
        made, report = _job(workshop, base, halves, forget, seed + number, set())
        back = {
            (reference, miss.task)
            for miss in missed_gates(report, {EARLIER: bound})
            if miss.gate == EARLIER
            for reference in miss.came_back
        }
        if back:
            made, report = _job(workshop, base, halves, forget, seed + number, back)
        line.seconds.append(time.process_time() - began)
        line.again.append(len({reference for reference, _ in back}))
        _note(line, workshop, made, report, references[number], halves[1], requests[: number + 1])
        base = made
        print(f"request {number + 1}: {line.seconds[-1]:.1f} s, came back {line.again[-1]}", flush=True)
    return line


def _job(
    workshop: Workshop, base: nn.Module, halves: tuple[Data, Data], forget: ForgetSet, seed: int, back: Back
) -> tuple[nn.Module, dict[str, Any]]:
    """As the worker does: unlearn, and measure by what was asked for."""
    problem = Problem(
        network=base,
        build=lambda generator: build_network(NETWORK, SPECS, generator),
        tasks=SPECS,
        train=workshop.train,
        calibration=halves[0],
        forget=with_what_came_back(forget, NAMES, back),
        recipe=Recipe(**RECIPE),
    )
    made = METHODS["interference_aware"](problem, Budget(), seed=seed, device=CPU, monitor=Silent())
    return made.network, _measure(workshop, base, made.network, halves[1], forget, seed, made.guarantee)


def _measure(
    workshop: Workshop,
    base: nn.Module,
    made: nn.Module,
    audit: Data,
    forget: ForgetSet,
    seed: int,
    guarantee: str,
) -> dict[str, Any]:
    report = evaluate(
        base, made, tasks=SPECS, train=workshop.train, audit=audit, forget=forget, seed=seed, device=CPU,
        monitor=Silent(),
    )  # fmt: skip
    return report | {"run": {"guarantee": guarantee}}


def _note(
    line: Line,
    workshop: Workshop,
    made: nn.Module,
    report: dict[str, Any],
    reference: nn.Module,
    audit: Data,
    requests: list[ForgetRequest],
) -> None:
    line.levels.append([])
    for history, request in zip(line.levels, requests, strict=True):
        history.append(_right(made, workshop.train, request.rows))
    tasks = report["tasks"]
    line.holdout.append(tasks["digit"]["holdout"]["after"]["value"])
    line.retained.append({name: tasks[name]["retain"]["after"]["value"] for name in NAMES})
    line.drift.append(_disagreement(made, reference, audit))
    before = [
        level["forget"]["after"]["value"] - line.holdout[-1]
        for level in report["earlier_levels"]
        if level["task"] == "digit"
    ]
    line.earlier.append(before[0] if before else None)


def _beside(
    workshop: Workshop,
    original: nn.Module,
    references: list[nn.Module],
    audit: Data,
    requests: list[ForgetRequest],
    seed: int,
) -> Line:
    line = Line()
    for number, reference in enumerate(references):
        forget = _forget(workshop, requests[: number + 1])
        report = _measure(workshop, original, reference, audit, forget, seed + number, "exact")
        _note(line, workshop, reference, report, reference, audit, requests[: number + 1])
        line.again.append(0)
        line.seconds.append(0.0)
    return line


def _right(network: nn.Module, data: Data, rows: torch.Tensor) -> float:
    batch = data.fetch(rows)
    return float((_digits(network, data, rows) == batch.targets["digit"]).double().mean() * 100)


def _disagreement(one: nn.Module, other: nn.Module, audit: Data) -> float:
    """Share of held-out images of which two networks say different digits, in points."""
    rows = torch.arange(len(audit))
    return float((_digits(one, audit, rows) != _digits(other, audit, rows)).double().mean() * 100)


def _digits(network: nn.Module, data: Data, rows: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        answer: torch.Tensor = network.eval()(data.fetch(rows).inputs)["digit"].argmax(dim=1)
    return answer


if __name__ == "__main__":
    main()
