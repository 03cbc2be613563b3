"""Gates: bounds on the evaluation that a candidate must keep to be published."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot
from typing import Any

MEASURABLE = 50  # fewer instances than this decide nothing


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
