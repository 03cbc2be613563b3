"""Run one job: unlearn request after request, and measure after each."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import nn

from benchmarks.unlearning.cached_networks import CPU
from benchmarks.unlearning.configurations import NOTHING
from benchmarks.unlearning.costs import Cost, timed
from benchmarks.unlearning.jobs import Job
from benchmarks.unlearning.looks import look_at
from benchmarks.unlearning.problems import Prepared
from benchmarks.unlearning.requests import forget_sets
from benchmarks.unlearning.scores import score
from benchmarks.unlearning.yardsticks import Yardstick, floor, prepared, yardstick
from worker.engine.contract import ForgetSet, Monitor, Outcome, Problem, Refused


def execute(job: Job, cache: Path, monitor: Monitor) -> dict[str, Any]:
    """The row: identity, figures of the last request, rebound of the earlier ones, cost. JSON-able.

    A refusal of the engine is a result too. Raises `Interrupted` from the monitor.
    """
    row = {"key": job.key, "axis": job.axis, **job.identity()}
    try:
        return {**row, **_run(job, cache, monitor)}
    except Refused as refusal:
        return {**row, "refused": f"{refusal.code}: {refusal}"}


def _run(job: Job, cache: Path, monitor: Monitor) -> dict[str, Any]:
    problem = prepared(job.problem, cache)
    sets = forget_sets(job.request, problem)
    network: nn.Module = problem.network
    total = Cost()
    details: dict[str, Any] = {}
    rebound: list[dict[str, Any]] = []
    for step, forget in enumerate(sets):
        with timed() as cost:
            outcome = _unlearn(job, problem, network, forget, monitor)
        network, details = outcome.network, dict(outcome.details)
        cost.passes, cost.forward_passes = outcome.passes, outcome.forward_passes
        total = _sum(total, cost)
        if len(sets) > 1:
            rebound.extend(_rebound(job, problem, network, step, cache))
    last = len(sets) - 1
    measure = yardstick(job.problem, job.request, last, last, cache)
    return {
        "scores": _scored(problem, network, measure),
        "floor": floor(problem, measure),
        "rebound": rebound,
        "cost": _beside_retraining(total, measure.costs),
        "forgotten": len(measure.parts.forget),
        "instances": len(problem.train),
        "parameters": sum(parameter.numel() for parameter in problem.network.parameters()),
        "details": details,
    }


def _unlearn(job: Job, problem: Prepared, network: nn.Module, forget: ForgetSet, monitor: Monitor) -> Outcome:
    if job.method == NOTHING:
        return Outcome(network, "empirical", 0, 0.0, 0, 0)
    rate = problem.recipe.learning_rate * job.configuration.rate
    given = Problem(
        network=copy.deepcopy(network),
        build=problem.build,
        tasks=problem.specs,
        train=problem.train,
        calibration=problem.calibration,
        forget=forget,
        recipe=replace(problem.recipe, learning_rate=rate),
    )
    method = job.configuration.method(job.method)
    budget = job.configuration.spent()
    return method(given, budget, seed=problem.key.seed, device=CPU, monitor=monitor)


def _scored(problem: Prepared, network: nn.Module, measure: Yardstick) -> dict[str, Any]:
    look = look_at(problem, network, measure.parts)
    return score(problem.specs, measure.parts, measure.original, look, measure.references)


def _rebound(job: Job, problem: Prepared, network: nn.Module, step: int, cache: Path) -> list[dict[str, Any]]:
    """Every request up to this step, measured after it, against networks retrained without all of them."""
    found = []
    for earlier in range(step + 1):
        measure = yardstick(job.problem, job.request, earlier, step, cache)
        scored, lowest = _scored(problem, network, measure), floor(problem, measure)
        named = {name: task for name, task in scored["tasks"].items() if task["named"]}
        found.append(
            {
                "after": step,
                "request": earlier,
                "forget_gap": scored["forget_gap"],
                "auc": scored["auc"],
                "auc_distance": scored["auc_distance"],
                "floor": {name: lowest[name] for name in ("forget_gap", "auc_distance")},
                "metrics": {
                    name: {"after": task["after"]["forget"], "retrained": task["retrained"]["forget"]}
                    for name, task in named.items()
                },
            }
        )
    return found


def _sum(first: Cost, second: Cost) -> Cost:
    return Cost(**{name: value + getattr(second, name) for name, value in asdict(first).items()})


def _beside_retraining(spent: Cost, references: Sequence[Cost]) -> dict[str, Any]:
    """Shares of retraining's cost on the same machine, a mean over the references."""
    return {
        **asdict(spent),
        "retraining_passes": round(fmean(cost.passes for cost in references)),
        "retraining_processor_seconds": round(fmean(cost.processor_seconds for cost in references), 4),
        "passes_share": spent.passes / max(1.0, fmean(cost.passes for cost in references)),
        "time_share": spent.processor_seconds
        / max(1e-9, fmean(cost.processor_seconds for cost in references)),
        "wall_share": spent.seconds / max(1e-9, fmean(cost.seconds for cost in references)),
    }
