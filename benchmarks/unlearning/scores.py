"""One network's figures on one request, beside those of retraining. docs/benchmark.md defines each."""

from collections.abc import Sequence
from math import prod
from statistics import fmean
from typing import Any

from torch import Tensor

from benchmarks.unlearning.looks import Look, Parts
from benchmarks.unlearning.membership_distance import membership_distance
from worker.engine.contract import TaskSpec
from worker.engine.evaluation.membership import membership
from worker.engine.evaluation.uis import named_task_uis, unnamed_task_uis

PARTS = ("forget", "retain", "test")


def score(
    specs: tuple[TaskSpec, ...], parts: Parts, original: Look, network: Look, references: Sequence[Look]
) -> dict[str, Any]:
    """JSON-able. Metrics and gaps are in points, UIS in percent, membership in 0..1.

    `references` are networks retrained without the request; gaps are to their mean.
    """
    tasks = {
        spec.name: _score_task(column, parts, original, network, references)
        for column, spec in enumerate(specs)
    }
    return {"tasks": tasks, **_summary(list(tasks.values()))}


def _score_task(
    column: int, parts: Parts, original: Look, network: Look, references: Sequence[Look]
) -> dict[str, Any]:
    named = bool(parts.named[:, column].any())
    mask = parts.named[:, column] if named else parts.kept[:, column]
    before, after = _metrics(original, column, mask), _metrics(network, column, mask)
    retrained = [_metrics(reference, column, mask) for reference in references]
    goal = {part: fmean(metrics[part] for metrics in retrained) for part in PARTS}
    gaps = {part: abs(after[part] - goal[part]) for part in PARTS}
    found: dict[str, Any] = {
        "named": named,
        "before": before,
        "after": after,
        "retrained": goal,
        "gaps": gaps,
        "tow": prod(1 - gap / 100 for gap in gaps.values()),
        "uis": _uis(named, before, after),
    }
    if named:
        found["membership"] = _membership(column, mask, network, references)
        found["membership_before"] = _auc(column, mask, original)
    return found


def _metrics(look: Look, column: int, mask: Tensor) -> dict[str, float]:
    return {
        "forget": look.forget.points(column, mask),
        "retain": look.retain.points(column),
        "test": look.test.points(column),
    }


def _uis(named: bool, before: dict[str, float], after: dict[str, float]) -> float | None:
    if named:
        return named_task_uis(before["test"], after["test"], after["forget"])
    return unnamed_task_uis(before["test"], after["test"], before["forget"], after["forget"])


def _losses(look: Look, column: int, mask: Tensor) -> tuple[Tensor, Tensor]:
    present = look.test.present[:, column]
    return look.forget.losses[mask, column], look.test.losses[present, column]


def _auc(column: int, mask: Tensor, look: Look) -> float | None:
    found = membership(*_losses(look, column, mask))
    return found["auc"] if found else None


def _membership(column: int, mask: Tensor, network: Look, references: Sequence[Look]) -> dict[str, Any]:
    members, non_members = _losses(network, column, mask)
    others = [_losses(reference, column, mask) for reference in references]
    distance = membership_distance(
        members, non_members, [left for left, _ in others], [right for _, right in others]
    )
    own = membership(members, non_members)
    return {
        "auc": distance.auc,
        "retrained": distance.reference,
        "distance": distance.absolute,
        "standard_error": distance.standard_error,
        "tpr_at_1_fpr": own["tpr_at_1_fpr"] if own else None,
        "members": len(members),
        "non_members": len(non_members),
    }


def _summary(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the tasks; membership and the forget gap over the named ones, drift over the others."""
    named = [task for task in tasks if task["named"]]
    others = [task for task in tasks if not task["named"]]
    memberships = [task["membership"] for task in named]
    caught = [found["tpr_at_1_fpr"] for found in memberships if found["tpr_at_1_fpr"] is not None]
    scores = [task["uis"] for task in tasks if task["uis"] is not None]
    every_gap = [gap for task in tasks for gap in task["gaps"].values()]
    distance = fmean(found["distance"] for found in memberships)
    return {
        "uis": fmean(scores) if scores else None,
        "average_gap": fmean(every_gap),
        "forget_gap": fmean(task["gaps"]["forget"] for task in named),
        "retain_gap": fmean(task["gaps"]["retain"] for task in tasks),
        "test_gap": fmean(task["gaps"]["test"] for task in tasks),
        "unnamed_gap": fmean(task["gaps"]["forget"] for task in others) if others else None,
        "tow": fmean(task["tow"] for task in tasks),
        "auc": fmean(found["auc"] for found in memberships),
        "auc_retrained": fmean(found["retrained"] for found in memberships),
        "auc_distance": distance,
        "auc_distance_error": fmean(found["standard_error"] for found in memberships),
        "tpr_at_1_fpr": fmean(caught) if caught else None,
        "selection": fmean([fmean(every_gap), 100 * distance]),
    }
