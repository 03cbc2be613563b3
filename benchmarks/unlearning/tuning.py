"""Choose each method's configuration, on development seeds only.

Every published method has at least twice as many configurations as ours. They choose one per data set; ours
chooses one for all of them, because it promises one setting for everything. The figure to choose by is the
mean, over development problems and requests, of ½ (AvgGap + 100 · |AUC − retraining's|), measured on the
development seeds' held-out halves; test seeds' data are never touched here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.unlearning.configurations import NOTHING, Configuration
from benchmarks.unlearning.environment import environment
from benchmarks.unlearning.finished_rows import FinishedRows
from benchmarks.unlearning.grid import FRACTION, OURS, Scale
from benchmarks.unlearning.jobs import Job
from benchmarks.unlearning.requests import RequestPlan
from benchmarks.unlearning.tried import configurations_of

DEVELOPMENT_SEEDS = (1000, 1001)


def tuning_jobs(scale: Scale) -> list[Job]:
    """A random full request and a clustered partial one per problem; every configuration of every method."""
    return [
        Job("tuning", scale.problem(source, seed), plan, method, configuration)
        for seed in scale.seeds
        for source in scale.sources
        for plan in (
            RequestPlan("random", "full", FRACTION),
            RequestPlan("clustered", source.tasks[seed % len(source.tasks)].name, FRACTION),
        )
        for method in scale.compared()
        if method != NOTHING
        for configuration in configurations_of(method)
    ]


def choose(jobs: Sequence[Job], rows: FinishedRows, file: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Write the choice with its evidence; data sets and methods that `jobs` do not cover keep theirs.

    A configuration that the engine refused, or whose figures are not finite, anywhere is not chosen.
    """
    evidence: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for job in jobs:
        row = rows.get(job.key)
        if row is None:
            continue
        tried = evidence.setdefault((job.problem.source, job.method), {})
        entry = tried.setdefault(job.configuration.described(), _entry(job.configuration))
        entry["values"].append(row["scores"]["selection"] if "scores" in row else None)
    found = json.loads(file.read_text())["methods"] if file.exists() else {}
    for (source, method), entries in evidence.items():
        tried = [_summed_up(entry) for entry in entries.values()]
        best = _best([tried])
        if best is not None:
            found.setdefault(source, {})[method] = {"chosen": best, "tried": tried}
    ours = [methods[OURS] for methods in found.values() if OURS in methods]
    one = _best([entry["tried"] for entry in ours])
    for entry in ours:
        entry["chosen"] = one or entry["chosen"]
    content = {"seeds": list(seeds), "environment": environment(), "methods": found}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return content


def _best(tried: Sequence[Sequence[Mapping[str, Any]]]) -> Any | None:
    """The configuration with the smallest figure, a mean over data sets; None if none was usable on all."""
    figures: dict[str, list[float]] = {}
    configurations: dict[str, Any] = {}
    for entry in [entry for entries in tried for entry in entries]:
        name = Configuration(**entry["configuration"]).described()
        configurations[name] = entry["configuration"]
        if entry["figure"] is not None:
            figures.setdefault(name, []).append(entry["figure"])
    means = {name: fmean(found) for name, found in figures.items() if len(found) == len(tried)}
    return configurations[min(means, key=lambda name: means[name])] if means else None


def _entry(configuration: Configuration) -> dict[str, Any]:
    return {"configuration": asdict(configuration), "values": []}


def _summed_up(entry: dict[str, Any]) -> dict[str, Any]:
    values = entry["values"]
    usable = None not in values and all(value == value for value in values)
    return {
        "configuration": entry["configuration"],
        "figure": round(fmean(values), 4) if usable else None,
        "spread": round(stdev(values), 4) if usable and len(values) > 1 else None,
        "runs": len(values),
    }
