"""Unlearn: hand the problem to the method that a rung names."""

from dataclasses import replace

import torch

from app.core.settings import Settings
from worker.engine.contract import Budget, ForgetRequest, ForgetSet, Method, Outcome, Refused
from worker.engine.forward import Precision
from worker.engine.interference_aware import InterferenceAware
from worker.engine.methods import METHODS
from worker.jobs.running import Running
from worker.pipeline.ladder import Rung
from worker.pipeline.load import Loaded

Back = set[tuple[str, str]]  # (reference of an earlier request, task) of what came back


def unlearn(running: Running, loaded: Loaded, rung: Rung, back: Back, device: torch.device) -> Outcome:
    """Raises `Refused`: method_unknown, and what the method refuses. Raises `Stopped`."""
    method = method_of(rung.method, running.equipment.settings, device)
    names = [task.name for task in loaded.problem.tasks]
    problem = replace(loaded.problem, forget=with_what_came_back(loaded.problem.forget, names, back))
    running.memory.watch(device)
    with running.monitor.taking_snapshots():
        return method(
            problem, budget_of(loaded, rung), seed=loaded.seed, device=device, monitor=running.monitor
        )


def method_of(name: str, settings: Settings, device: torch.device) -> Method:
    """In the operator's precision, where the method has a choice. Where that is not float32, neither is the
    method's name what it was, so that no snapshot in the other precision is taken up.

    Raises `Refused`: method_unknown.
    """
    if name not in METHODS:
        raise Refused(
            "method_unknown", f"There is no method {name!r}; the methods are {', '.join(sorted(METHODS))}."
        )
    method = METHODS[name]
    if not isinstance(method, InterferenceAware):
        return method
    chosen = replace(method, precision=settings.precision)
    effective = precision_of(chosen, device)
    return chosen if effective == "float32" else replace(chosen, name=f"{name} in {effective}")


def precision_of(method: Method, device: torch.device) -> Precision:
    """What layers are computed in: the CPU stays with float32 whatever was set (`worker.engine.forward`)."""
    if isinstance(method, InterferenceAware) and device.type == "cuda":
        return method.precision
    return "float32"


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
