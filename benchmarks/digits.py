"""How well interference-aware unlearning does on the demonstration's digits, next to retraining.

    python -m benchmarks.digits --seeds 5

Per seed: fresh data noise, a network trained until it knows its labels by heart, then 150 random instances
forgotten for all tasks and for each single task. Every figure stands beside the mean of five retrained
networks. Writes benchmarks/results/digits.json and digits.md; rows already there for the same code and
configuration are kept, so an interrupted run goes on where it stopped.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from examples.digits.data import NETWORK, RECIPE, TASKS, write_digits
from worker.engine.contract import Budget, Data, ForgetRequest, ForgetSet, Problem, Recipe, Silent, TaskSpec
from worker.engine.data import open_data, split_holdout
from worker.engine.evaluation import evaluate, memorisation
from worker.engine.methods import METHODS
from worker.engine.networks import build_network
from worker.engine.randomness import derived_generator
from worker.engine.training import train

RESULTS = Path(__file__).parent / "results"
ENGINE = Path(__file__).parent.parent / "worker" / "engine"
CPU = torch.device("cpu")
SPECS = tuple(TaskSpec(**task) for task in TASKS)
RECIPE_OF_ALL = Recipe(**RECIPE)
REQUESTS: Mapping[str, tuple[int, ...]] = {"all": (0, 1, 2), "digit": (0,), "turn": (1,), "ink": (2,)}
FORGET = 150
RETRAINED = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from the first one on")
    parser.add_argument("--first", type=int, default=0, help="100 and above are for development")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "digits.json"
    environment = _environment(options.threads)
    rows: dict[str, Any] = _earlier_rows(file, environment["configuration"])
    seeds = [str(seed) for seed in range(options.first, options.first + options.seeds)]
    for seed in seeds:
        if seed in rows:
            print(f"seed {seed}: kept from an earlier run", flush=True)
            continue
        rows[seed] = run_seed(int(seed))
        file.write_text(json.dumps({"environment": environment, "seeds": rows}, separators=(",", ":")) + "\n")
    report = table({seed: rows[seed] for seed in seeds}, environment)
    (options.output / "digits.md").write_text(report)
    print(report)


def run_seed(seed: int) -> dict[str, Any]:
    """Train, then forget each request of `REQUESTS`; JSON-able."""
    with tempfile.TemporaryDirectory() as folder:
        written = write_digits(Path(folder), seed=seed)
        data = open_data("arrays", written.train, SPECS)
        calibration, audit = split_holdout(open_data("arrays", written.holdout, SPECS), SPECS, seed)
        network = _build(derived_generator(seed, "original"))
        started = time.process_time()
        train(network, SPECS, data, data.present, RECIPE_OF_ALL, seed=seed, device=CPU, monitor=Silent())
        training_seconds = time.process_time() - started
        print(f"seed {seed}: trained in {training_seconds:.1f} CPU s", flush=True)
        known = memorisation(
            network, tasks=SPECS, train=data, holdout=audit, seed=seed, device=CPU, monitor=Silent()
        )
        requests = {
            name: _run_request(seed, tasks, network, data, calibration, audit)
            for name, tasks in REQUESTS.items()
        }
    return {"training_seconds": training_seconds, "memorisation": known, "requests": requests}


def _run_request(
    seed: int, tasks: tuple[int, ...], network: nn.Module, data: Data, calibration: Data, audit: Data
) -> dict[str, Any]:
    chosen = torch.randperm(len(data), generator=derived_generator(seed, "forget"))[:FORGET].sort().values
    forget = ForgetSet(len(data), len(SPECS), (ForgetRequest("benchmark", chosen, tasks),))
    problem = Problem(network, _build, SPECS, data, calibration, forget, RECIPE_OF_ALL)

    def report(candidate: nn.Module) -> dict[str, Any]:
        return evaluate(
            network, candidate, tasks=SPECS, train=data, audit=audit, forget=forget,
            seed=seed, device=CPU, monitor=Silent(),
        )  # fmt: skip

    started = time.process_time()
    outcome = METHODS["interference_aware"](problem, Budget(), seed=seed, device=CPU, monitor=Silent())
    seconds = time.process_time() - started
    retrained, retraining = [], []
    for number in range(RETRAINED):
        started = time.process_time()
        again = METHODS["retrain"](
            problem, Budget(), seed=1000 * (number + 1) + seed, device=CPU, monitor=Silent()
        )
        retraining.append(time.process_time() - started)
        retrained.append(report(again.network))
    print(f"seed {seed}: {len(tasks)} task(s) of {FORGET} instances in {seconds:.1f} CPU s", flush=True)
    return {
        "unlearned": report(outcome.network),
        "retrained": retrained,
        "seconds": seconds,
        "retraining_seconds": statistics.mean(retraining),
        "passes": outcome.passes,
        "details": dict(outcome.details),
    }


# What is read from a report's task: how the row is called, and where its figure before and after stands.
_FIGURES: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any] | None]] = {
    "forget": lambda task: task["forget"],
    "un-named, same instances": lambda task: None if task["named"] else task["unnamed_same_instances"],
    "retain": lambda task: task["retain"],
    "holdout": lambda task: task["holdout"],
}


def table(rows: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """Markdown: mean ± standard deviation over seeds, and the worst single seed."""
    lines = [
        "# Unlearning 150 of 1,000 digits",
        "",
        f"Seeds {', '.join(rows)}; {environment['processor']}, {environment['threads']} thread(s), "
        f"Python {environment['python']}, torch {environment['torch']}. Figures are points (accuracy, or "
        "closeness for `ink`), mean ± standard deviation over seeds. "
        f"Retrained: mean of {RETRAINED} networks. Gap: unlearned − retrained; floor: each retrained −"
        " the mean of the others; both as mean of the absolute values, and the worst single one. "
        "Drift: unlearned − original. CPU seconds include calibration.",
        "",
        "| knows by heart | training | holdout | membership AUC |",
        "|---|---|---|---|",
    ]
    for spec in SPECS:
        known = [row["memorisation"][spec.name] for row in rows.values()]
        lines.append(
            f"| {spec.name} | {_spread([k['train']['value'] for k in known])} | "
            f"{_spread([k['holdout']['value'] for k in known])} | "
            f"{_spread([k['membership']['auc'] for k in known], 3)} |"
        )
    lines += [
        "",
        "| forget | task | on | original | unlearned | retrained | gap (worst) | floor | drift (worst) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for request in REQUESTS:
        for spec in SPECS:
            for name, figure in _FIGURES.items():
                line = _figure_line(rows, request, spec.name, name, figure)
                if line is not None:
                    lines.append(line)
    lines += [
        "",
        "| forget | task | AUC before | unlearned | retrained | gap (worst) | floor |",
        "|---|---|---|---|---|---|---|",
    ]
    for request in REQUESTS:
        for spec in SPECS:
            line = _membership_line(rows, request, spec.name)
            if line is not None:
                lines.append(line)
    lines += [
        "",
        "| forget | UIS unlearned | UIS retrained | CPU seconds | retraining |",
        "|---|---|---|---|---|",
    ]
    for request in REQUESTS:
        runs = [row["requests"][request] for row in rows.values()]
        again = [statistics.mean(report["uis"] for report in run["retrained"]) for run in runs]
        lines.append(
            f"| {request} | {_spread([run['unlearned']['uis'] for run in runs])} | {_spread(again)} | "
            f"{_spread([run['seconds'] for run in runs])} | "
            f"{_spread([run['retraining_seconds'] for run in runs])} |"
        )
    return "\n".join(lines) + "\n"


def _figure_line(
    rows: Mapping[str, Any],
    request: str,
    task: str,
    name: str,
    figure: Callable[[Mapping[str, Any]], Mapping[str, Any] | None],
) -> str | None:
    before, unlearned, retrained = [], [], list[list[float]]()
    for row in rows.values():
        run = row["requests"][request]
        own = figure(run["unlearned"]["tasks"][task])
        if own is None:
            return None
        again = [figure(report["tasks"][task]) for report in run["retrained"]]
        before.append(own["before"]["value"])
        unlearned.append(own["after"]["value"])
        retrained.append([found["after"]["value"] for found in again if found is not None])
    mean = [statistics.mean(values) for values in retrained]
    drift = [u - o for u, o in zip(unlearned, before, strict=True)]
    return (
        f"| {request} | {task} | {name} | {_spread(before)} | {_spread(unlearned)} | {_spread(mean)} | "
        f"{_distance(unlearned, mean)} | {_floor(retrained)} | "
        f"{statistics.mean(drift):+.1f} ({max(drift, key=abs):+.1f}) |"
    )


def _membership_line(rows: Mapping[str, Any], request: str, task: str) -> str | None:
    before, unlearned, retrained = [], [], list[list[float]]()
    for row in rows.values():
        run = row["requests"][request]
        own = run["unlearned"]["tasks"][task]["membership"]
        if own is None:
            return None
        again = [report["tasks"][task]["membership"]["after"]["auc"] for report in run["retrained"]]
        before.append(own["before"]["auc"])
        unlearned.append(own["after"]["auc"])
        retrained.append(again)
    mean = [statistics.mean(values) for values in retrained]
    return (
        f"| {request} | {task} | {_spread(before, 3)} | {_spread(unlearned, 3)} | {_spread(mean, 3)} | "
        f"{_distance(unlearned, mean, 3)} | {_floor(retrained, 3)} |"
    )


def _spread(values: list[float], digits: int = 1) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def _distance(ones: list[float], others: list[float], digits: int = 1) -> str:
    distances = [abs(one - other) for one, other in zip(ones, others, strict=True)]
    return f"{statistics.mean(distances):.{digits}f} ({max(distances):.{digits}f})"


def _floor(retrained: list[list[float]], digits: int = 1) -> str:
    """Each network of a seed against the mean of its others."""
    ones = [value for values in retrained for value in values]
    others = [(sum(values) - value) / (len(values) - 1) for values in retrained for value in values]
    return _distance(ones, others, digits)


def _build(generator: torch.Generator) -> nn.Module:
    return build_network(NETWORK, SPECS, generator)


def _environment(threads: int) -> dict[str, Any]:
    digest = hashlib.sha256(repr((NETWORK, RECIPE, TASKS, FORGET, RETRAINED)).encode())
    for file in sorted(ENGINE.glob("*.py")):
        digest.update(file.read_bytes())
    return {
        "configuration": digest.hexdigest(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "numpy", "scikit-learn")},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _earlier_rows(file: Path, configuration: str) -> dict[str, Any]:
    if not file.exists():
        return {}
    stored = json.loads(file.read_text())
    if stored.get("environment", {}).get("configuration") != configuration:
        return {}
    rows: dict[str, Any] = stored["seeds"]
    return rows


if __name__ == "__main__":
    sys.exit(main())
