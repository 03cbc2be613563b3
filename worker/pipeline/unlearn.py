"""Unlearn: hand the problem to the method that a rung names."""

from dataclasses import replace

import torch

from worker.engine.contract import Budget, ForgetRequest, ForgetSet, Outcome, Refused
from worker.engine.methods import METHODS
from worker.jobs.running import Running
from worker.pipeline.ladder import Rung
from worker.pipeline.load import Loaded

Back = set[tuple[str, str]]  # (reference of an earlier request, task) of what came back


def unlearn(running: Running, loaded: Loaded, rung: Rung, back: Back, device: torch.device) -> Outcome:
    """Raises `Refused`: method_unknown, and what the method refuses. Raises `Stopped`."""
    if rung.method not in METHODS:
        raise Refused(
            "method_unknown",
            f"There is no method {rung.method!r}; the methods are {', '.join(sorted(METHODS))}.",
        )
    names = [task.name for task in loaded.problem.tasks]
    problem = replace(loaded.problem, forget=with_what_came_back(loaded.problem.forget, names, back))
    running.memory.watch(device)
    with running.monitor.taking_snapshots():
        return METHODS[rung.method](
            problem, budget_of(loaded, rung), seed=loaded.seed, device=device, monitor=running.monitor
        )


def budget_of(loaded: Loaded, rung: Rung) -> Budget:
    """What the model's policy allows."""
    visits = int(loaded.registered.policy.get("visits", Budget().visits))
    return Budget(visits=visits, scale=rung.scale)


def with_what_came_back(forget: ForgetSet, tasks: list[str], back: Back) -> ForgetSet:
    """Earlier requests that came back are forgotten again, towards targets of their own."""
    again: list[ForgetRequest] = []
    excluded: list[ForgetRequest] = []
    for request in forget.excluded:
        returned = tuple(column for column in request.tasks if (request.reference, tasks[column]) in back)
        stayed = tuple(column for column in request.tasks if column not in returned)
        if returned and not request.remembered:
            again.append(replace(request, tasks=returned, again=True))
            excluded += [replace(request, tasks=stayed)] if stayed else []
        else:
            excluded.append(request)
    return replace(forget, requests=(*forget.requests, *again), excluded=tuple(excluded))
