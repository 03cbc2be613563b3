"""Gates: bounds on the evaluation that a candidate must keep to be published."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot
from typing import Any

MEASURABLE = 50  # fewer instances than this decide nothing
PARTS = {  # gate → the parts of the evaluation that it compares
    "retained_drop": ("retain",),
    "unnamed_drop": ("unnamed_same_instances",),
    "forget_excess": ("forget", "holdout"),
}
ABOUT = {
    "retained_drop": "loss on retained supervision",
    "unnamed_drop": "loss on the un-named supervision of the same instances",
    "forget_excess": "lead of the forgotten over the holdout, beyond chance",
}
CALLED = {
    "retain": "retained",
    "unnamed_same_instances": "un-named",
    "forget": "forgotten",
    "holdout": "in the holdout",
}


@dataclass(frozen=True)
class Miss:
    """A bound that was not kept, in points of the task's metric."""

    gate: str
    task: str
    bound: float
    figure: float

    def sentence(self) -> str:
        what = {
            "retained_drop": "lost {0:.1f} points on retained supervision",
            "unnamed_drop": "lost {0:.1f} points on the un-named supervision of the same instances",
            "forget_excess": "is still at least {0:.1f} points better on the forgotten than on the holdout",
        }[self.gate]
        return f"Task {self.task!r} {what.format(self.figure)}; at most {self.bound:g} are allowed."


def missed_gates(report: dict[str, Any], gates: dict[str, float]) -> list[Miss]:
    """Compare a report with a policy's bounds; a bound that the policy does not have is not checked.

    `forget_excess` is missed only beyond what chance explains. It is not asked of exact retraining: there a
    high score on the forget set is what any network scores that never saw it.
    """
    exact = report["run"]["guarantee"] == "exact"
    return [
        Miss(gate, task, float(gates[gate]), figure)
        for task, found in report["tasks"].items()
        for gate, figure in _figures(found)
        if gate in gates and figure > gates[gate] and not (exact and gate == "forget_excess")
    ]


def gate_record(report: dict[str, Any], gates: dict[str, float], missed: list[Miss]) -> dict[str, Any]:
    """What a certificate may say: per gate and task what was decided, and what could not be measured.

    `passed` is None when nothing was decided: a bound that nobody measured was neither kept nor missed.
    """
    decided, not_measured = [], []
    exact = report["run"]["guarantee"] == "exact"
    for task, found in report["tasks"].items():
        figures = dict(_figures(found))
        for gate, parts in PARTS.items():
            if gate not in gates or found[parts[0]] is None or (exact and gate == "forget_excess"):
                continue
            asked = {"gate": gate, "task": task, "bound": float(gates[gate])}
            if gate in figures:
                decided.append(asked | _decision(gate, task, float(gates[gate]), figures[gate]))
            else:
                counts = {part: _count(found[part]) for part in parts}
                not_measured.append(asked | _gap(gate, task, counts))
    passed = False if missed else True if decided else None
    return {
        "bounds": gates,
        "passed": passed,
        "missed": [miss.sentence() for miss in missed],
        "decided": decided,
        "not_measured": not_measured,
    }


def _decision(gate: str, task: str, bound: float, figure: float) -> dict[str, Any]:
    kept = figure <= bound
    says = f"Task {task!r}, {ABOUT[gate]}: {figure:.1f} points, at most {bound:g} are allowed: "
    return {"figure": figure, "kept": kept, "says": says + ("kept." if kept else "not kept.")}


def _gap(gate: str, task: str, counts: dict[str, int]) -> dict[str, Any]:
    """Why a bound was not measured, with the numbers of instances."""
    numbers = " and ".join(f"{count} {CALLED[part]}" for part, count in counts.items())
    few = min(counts.values()) < MEASURABLE
    why = f"too few ({numbers}; {MEASURABLE} are needed)" if few else f"the score has no value ({numbers})"
    says = f"Task {task!r}, {ABOUT[gate]}: could not be measured, {why}."
    return {"instances": counts, "needed": MEASURABLE, "says": says}


def _count(part: dict[str, Any] | None) -> int:
    """The smaller number of instances, before and after."""
    return min((part[when] or {}).get("n", 0) for when in ("before", "after")) if part else 0


def _figures(found: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The figures of one task that enough instances stand behind."""
    for gate, part in (("retained_drop", "retain"), ("unnamed_drop", "unnamed_same_instances")):
        if _measurable(found[part]):
            yield gate, found[part]["before"]["value"] - found[part]["after"]["value"]
    if _measurable(found["forget"]) and _measurable(found["holdout"]):
        yield "forget_excess", _least_excess(found["forget"]["after"], found["holdout"]["after"])


def _least_excess(forget: dict[str, Any], holdout: dict[str, Any]) -> float:
    """The lower end of the difference's 95 % interval, in points. These are two samples of different
    instances: on a hundred of each, chance alone makes differences of ten points. (A drop compares the same
    instances before and after.)"""
    error = hypot(forget["value"] - forget["low"], holdout["high"] - holdout["value"])
    return float(forget["value"] - holdout["value"] - error)


def _measurable(part: dict[str, Any] | None) -> bool:
    return part is not None and all(
        part[when] is not None and part[when]["n"] >= MEASURABLE and part[when]["value"] is not None
        for when in ("before", "after")
    )
