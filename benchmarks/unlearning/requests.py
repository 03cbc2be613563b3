"""Deletion requests to benchmark with: which instances, which of their tasks, in how many jobs."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from benchmarks.unlearning.cached_networks import CPU
from benchmarks.unlearning.problems import Prepared
from worker.engine.contract import ForgetRequest, ForgetSet, Silent
from worker.engine.measurement import measure
from worker.engine.progress import Progress
from worker.engine.randomness import derived_generator

Selection = Literal["random", "clustered", "hard"]


@dataclass(frozen=True)
class RequestPlan:
    """selection: "random", "clustered" (one neighbourhood, cluster after cluster), "hard" (highest loss of
    the original network). scope: "full", "mixed" or the name of one task. fraction: of the instances, per
    job. jobs: how many, one after the other."""

    selection: Selection
    scope: str
    fraction: float
    jobs: int = 1


def forget_sets(plan: RequestPlan, problem: Prepared) -> tuple[ForgetSet, ...]:
    """One per job, each with the earlier ones excluded. The instances do not depend on the scope."""
    instances, width = len(problem.train), len(problem.specs)
    size = max(1, round(plan.fraction * instances))
    order = _order(plan.selection, problem)
    sets: list[ForgetSet] = []
    before: tuple[ForgetRequest, ...] = ()
    for number in range(plan.jobs):
        rows = order[number * size : (number + 1) * size]
        requests = _requests(plan.scope, rows, problem, f"job-{number}")
        sets.append(ForgetSet(instances, width, requests, before))
        before = (*before, *requests)
    return tuple(sets)


def _requests(scope: str, rows: Tensor, problem: Prepared, reference: str) -> tuple[ForgetRequest, ...]:
    names = [spec.name for spec in problem.specs]
    everything = tuple(range(len(names)))
    if scope == "full":
        return (ForgetRequest(reference, rows.sort().values, everything),)
    if scope == "mixed":
        scopes = [everything, *[(column,) for column in everything]]
        return tuple(
            ForgetRequest(f"{reference}-{number}", part.sort().values, columns)
            for number, (part, columns) in enumerate(
                zip(torch.tensor_split(rows, len(scopes)), scopes, strict=True)
            )
            if len(part) > 0
        )
    return (ForgetRequest(reference, rows.sort().values, (names.index(scope),)),)


def _order(selection: Selection, problem: Prepared) -> Tensor:
    """(N,) all rows, the first to be forgotten first."""
    generator = derived_generator(problem.key.seed, "benchmark", selection)
    shuffled = torch.randperm(len(problem.train), generator=generator)
    if selection == "random":
        return shuffled
    if selection == "hard":
        return _losses(problem).argsort(descending=True)
    if problem.clusters is None:
        return _nearest(problem, int(shuffled[0]))
    clusters = problem.clusters[shuffled]
    names = torch.tensor(sorted(set(clusters.tolist())))
    turn = torch.zeros(int(names.max()) + 1, dtype=torch.int64)
    turn[names] = torch.randperm(len(names), generator=generator)
    return shuffled[turn[clusters].argsort(stable=True)]


def _nearest(problem: Prepared, seed_row: int) -> Tensor:
    """All rows by the distance of their inputs from one row's."""
    inputs = problem.train.fetch(torch.arange(len(problem.train))).inputs.flatten(1).float()
    return (inputs - inputs[seed_row]).square().sum(dim=1).argsort(stable=True)


def _losses(problem: Prepared) -> Tensor:
    """(N,) mean over the tasks of the original network's losses, each in units of its own spread."""
    found = measure(
        problem.network, problem.tasks, problem.train, torch.arange(len(problem.train)),
        device=CPU, progress=Progress(Silent(), 1), note="losses",
    )  # fmt: skip
    losses = found.losses / found.losses.std(dim=0).clamp(min=1e-9)
    return losses.masked_fill(~found.present, 0.0).mean(dim=1)
