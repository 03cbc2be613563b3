"""The evaluation of a candidate: one JSON-able report, the same from the same seed and digests."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.contract import Data, ForgetRequest, ForgetSet, Monitor, TaskSpec
from worker.engine.evaluation.drift import before_and_after
from worker.engine.evaluation.earlier import OWN_FIGURES, earlier_levels
from worker.engine.evaluation.literature import Part, literature, literature_passes
from worker.engine.evaluation.membership import membership
from worker.engine.evaluation.uis import named_task_uis, unnamed_task_uis
from worker.engine.measurement import Measurement, measure
from worker.engine.progress import Progress
from worker.engine.randomness import derived_generator
from worker.engine.supervision import Task, bind_tasks

SCHEMA = 1


def evaluate(
    before: nn.Module,
    after: nn.Module,
    *,
    tasks: tuple[TaskSpec, ...],
    train: Data,
    audit: Data,
    forget: ForgetSet,
    seed: int,
    device: torch.device,
    monitor: Monitor,
    retain_sample: int = 2000,
) -> dict[str, Any]:
    """Compare two networks on what was forgotten, on what was kept, and on what neither has seen.

    Metrics are `{value, low, high, n}` in points with 95 % intervals; docs/engine.md lists the report's
    fields. Retained supervision is measured on at most `retain_sample` instances, so that the cost does not
    grow with the training data. `earlier` re-measures what earlier jobs forgot (`forget.excluded`).
    Neither network is changed.
    """
    bound = bind_tasks(tasks, train, {}, device)
    parts = _parts(train, forget, seed, retain_sample)
    forgotten = _forgotten(forget, train)[parts.forget]
    dense_parts = {
        "forget": Part(train, parts.forget, forgotten),
        "holdout": Part(audit, torch.arange(len(audit)), audit.present),
    }
    measured = 2 * (len(parts.forget) + len(parts.retain) + len(parts.earlier) + len(audit))
    progress = Progress(monitor, measured + literature_passes(tasks, dense_parts))
    both = [
        _look(network, bound, train, audit, parts, device, progress, note)
        for network, note in ((before, "evaluating the base"), (after, "evaluating the candidate"))
    ]
    old, new = both
    retained = forget.retained(train.present)
    named = {column for request in forget.requests for column in request.tasks}
    per_task = {
        task.name: _task_report(task, column, column in named, old, new, forgotten, retained, parts)
        for column, task in enumerate(bound)
    }
    found = literature(before, after, tasks, dense_parts, device=device, progress=progress)
    for name, figures in found.items():
        per_task[name]["literature"] = figures
    scores = [report["uis"] for report in per_task.values() if report["uis"] is not None]
    return {
        "schema": SCHEMA,
        "tasks": per_task,
        "uis": sum(scores) / len(scores) if scores else None,
        "requests": _request_reports(bound, forget.requests, parts.forget, forgotten, old.forget, new.forget),
        "earlier": _request_reports(
            bound, forget.excluded, parts.earlier, train.present[parts.earlier], old.earlier, new.earlier
        ),
        "earlier_levels": earlier_levels(bound, forget.excluded, parts.earlier, old.earlier, new.earlier),
    }


@dataclass(frozen=True)
class _Parts:
    """Training rows, sorted: forgotten by this job, a sample of the retained, forgotten by earlier jobs."""

    forget: Tensor
    retain: Tensor
    earlier: Tensor


@dataclass(frozen=True)
class _Look:
    forget: Measurement
    retain: Measurement
    earlier: Measurement
    holdout: Measurement


def _parts(train: Data, forget: ForgetSet, seed: int, retain_sample: int) -> _Parts:
    gone = forget.mask().any(dim=1)
    kept = (forget.retained(train.present).any(dim=1) & ~gone).nonzero().flatten()
    order = torch.randperm(len(kept), generator=derived_generator(seed, "retain_sample"))
    excluded = ForgetSet(forget.instances, forget.tasks, forget.excluded).mask().any(dim=1)
    return _Parts(
        gone.nonzero().flatten(),
        kept[order[:retain_sample]].sort().values,
        excluded.nonzero().flatten(),
    )


def _forgotten(forget: ForgetSet, train: Data) -> Tensor:
    """(N, T): supervision that exists, is forgotten by this job and was not by an earlier one."""
    earlier = ForgetSet(forget.instances, forget.tasks, forget.excluded).mask()
    return forget.mask() & train.present & ~earlier


def _look(
    network: nn.Module,
    tasks: tuple[Task, ...],
    train: Data,
    audit: Data,
    parts: _Parts,
    device: torch.device,
    progress: Progress,
    note: str,
) -> _Look:
    moved = copy.deepcopy(network).to(device)

    def on(data: Data, rows: Tensor) -> Measurement:
        return measure(moved, tasks, data, rows, device=device, progress=progress, note=note)

    return _Look(
        forget=on(train, parts.forget),
        retain=on(train, parts.retain),
        earlier=on(train, parts.earlier),
        holdout=on(audit, torch.arange(len(audit))),
    )


def _task_report(
    task: Task,
    column: int,
    named: bool,
    old: _Look,
    new: _Look,
    forgotten: Tensor,
    retained: Tensor,
    parts: _Parts,
) -> dict[str, Any]:
    gone = forgotten[:, column]
    same = retained[parts.forget, column]
    held = old.holdout.present[:, column]
    forget = before_and_after(old.forget, new.forget, column, gone)
    holdout = before_and_after(old.holdout, new.holdout, column, held)
    unnamed = None if named else before_and_after(old.forget, new.forget, column, same)
    return {
        "kind": task.spec.kind,
        "metric": task.kind.metric,
        "higher_is_better": True,
        "named": named,
        "forget": forget,
        "retain": before_and_after(old.retain, new.retain, column, retained[parts.retain, column]),
        "holdout": holdout,
        "unnamed_same_instances": before_and_after(old.forget, new.forget, column, same),
        "loss": {
            "retain": _mean_losses(old.retain, new.retain, column, retained[parts.retain, column]),
            "holdout": _mean_losses(old.holdout, new.holdout, column, held),
        },
        "membership": {
            "before": membership(old.forget.losses[gone, column], old.holdout.losses[held, column]),
            "after": membership(new.forget.losses[gone, column], new.holdout.losses[held, column]),
        }
        if bool(gone.any())
        else None,
        "uis": _uis(named, forget, unnamed, holdout),
    }


def _mean_losses(old: Measurement, new: Measurement, column: int, mask: Tensor) -> dict[str, float] | None:
    """In the task's own units, over the same instances as its metric."""
    if not bool(mask.any()):
        return None
    return {
        when: round(float(seen.losses[mask, column].double().mean()), 6)
        for when, seen in (("before", old), ("after", new))
    }


def _uis(named: bool, forget: Any, unnamed: Any, holdout: Any) -> float | None:
    if holdout is None:
        return None
    test_before, test_after = holdout["before"]["value"], holdout["after"]["value"]
    if named and forget is None:
        return None
    if named:
        return named_task_uis(test_before, test_after, forget["after"]["value"])
    if unnamed is None:
        return None
    return unnamed_task_uis(test_before, test_after, unnamed["before"]["value"], unnamed["after"]["value"])


def _request_reports(
    tasks: tuple[Task, ...],
    requests: tuple[ForgetRequest, ...],
    rows: Tensor,
    present: Tensor,
    old: Measurement,
    new: Measurement,
) -> list[dict[str, Any]]:
    """One entry per request and task: its own figures from `OWN_FIGURES` instances on, else the batch's."""
    reports: list[dict[str, Any]] = []
    place = torch.full((int(rows.max()) + 1 if len(rows) else 1,), -1, dtype=torch.int64)
    place[rows] = torch.arange(len(rows))
    batches = present.sum(dim=0).tolist()
    for request in requests:
        mine = place[request.rows]
        for column in request.tasks:
            counted = mine[present[mine, column]]
            count, batch = len(counted), batches[column]
            entry: dict[str, Any] = {
                "reference": request.reference,
                "task": tasks[column].name,
                "instances": count,
            }
            if count >= OWN_FIGURES:
                mask = torch.zeros(len(rows), dtype=torch.bool)
                mask[counted] = True
                entry |= {
                    "measured_on": "this request",
                    "forget": before_and_after(old, new, column, mask),
                }
            else:
                entry |= {"measured_on": f"batch of {batch}", "forget": None}
            reports.append(entry)
    return reports
