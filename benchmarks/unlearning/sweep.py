"""Run jobs that are not finished yet: problems first, then references, then the runs themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.unlearning.environment import environment
from benchmarks.unlearning.execution import execute
from benchmarks.unlearning.finished_rows import FinishedRows
from benchmarks.unlearning.jobs import Job
from benchmarks.unlearning.problems import REFERENCES, ProblemKey, retrained
from benchmarks.unlearning.requests import RequestPlan, forget_sets
from benchmarks.unlearning.workers import Workers
from benchmarks.unlearning.yardsticks import prepared
from worker.engine.contract import Monitor


@dataclass(frozen=True)
class Reference:
    """One network to retrain: number `number` for everything up to job `step` of a plan."""

    problem: ProblemKey
    request: RequestPlan
    step: int
    number: int


def sweep(jobs: Sequence[Job], rows: FinishedRows, cache: Path, *, processes: int, console: Console) -> bool:
    """Append a row per job that has none; True if all of them are finished now."""
    todo = list({job.key: job for job in jobs if job.key not in rows}.values())
    console.print(f"{len(jobs)} runs, {len(jobs) - len(todo)} of them finished before")
    workers = Workers(processes, console)
    problems = list(dict.fromkeys(job.problem for job in todo))
    going = workers.each("training networks", problems, partial(_problem, cache), _ignore)
    references = list(dict.fromkeys(reference for job in todo for reference in _references(job)))
    going = going and workers.each("retraining references", references, partial(_reference, cache), _ignore)
    here = environment()

    def keep(job: Job, row: dict[str, Any]) -> None:
        rows.append({**row, "environment": here})

    going = going and workers.each("unlearning", todo, partial(_execute, cache), keep)
    for failure in workers.failures:
        console.print(failure, markup=False, highlight=False)
    return going and not workers.failures


def _references(job: Job) -> list[Reference]:
    return [
        Reference(job.problem, job.request, step, number)
        for step in range(job.request.jobs)
        for number in range(REFERENCES)
    ]


def _problem(cache: Path, key: ProblemKey, monitor: Monitor) -> None:
    prepared(key, cache)


def _reference(cache: Path, reference: Reference, monitor: Monitor) -> None:
    problem = prepared(reference.problem, cache)
    sets = forget_sets(reference.request, problem)
    retrained(problem, sets[reference.step], reference.number, monitor)


def _execute(cache: Path, job: Job, monitor: Monitor) -> dict[str, Any]:
    return execute(job, cache, monitor)


def _ignore(work: object, result: None) -> None:
    return None
