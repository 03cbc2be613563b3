"""The figures that gates compare with their bounds, and how many instances each needs to mean anything."""

from dataclasses import dataclass
from math import ceil, hypot, sqrt
from typing import Any

MEASURABLE = 50  # fewer instances than this decide nothing
Z_95 = 1.959964


@dataclass(frozen=True)
class Gate:
    """parts: of the evaluation, that it compares. of_forgetting: not asked of exact retraining."""

    parts: tuple[str, ...]
    about: str
    missed: str
    of_forgetting: bool = False
    unit: str = " points"
    decimals: int = 1

    def shown(self, figure: float) -> str:
        return f"{figure:.{self.decimals}f}"


@dataclass(frozen=True)
class Figure:
    """value: None where it could not be measured. counts: instances per part; `needed` of each."""

    value: float | None
    counts: dict[str, int]
    needed: int = MEASURABLE
    too_few: bool = False


GATES = {
    "retained_drop": Gate(
        ("retain",), "loss on retained supervision", "lost {} points on retained supervision"
    ),
    "retained_loss": Gate(
        ("retain",),
        "rise of the training loss on retained supervision, in percent of the holdout's",
        "has a training loss on retained supervision that rose by {} % of the holdout's",
        unit=" %",
    ),
    "unnamed_drop": Gate(
        ("unnamed_same_instances",),
        "loss on the un-named supervision of the same instances",
        "lost {} points on the un-named supervision of the same instances",
    ),
    "forget_excess": Gate(
        ("forget", "holdout"),
        "lead of the forgotten over the holdout, beyond chance",
        "is still at least {} points better on the forgotten than on the holdout",
        of_forgetting=True,
    ),
    "membership_auc": Gate(
        ("forget", "holdout"),
        "distance of the membership AUC from ½, to either side, beyond chance",
        "has a membership AUC that is at least {} away from ½",
        of_forgetting=True,
        unit="",
        decimals=3,
    ),
}
CALLED = {
    "retain": "retained",
    "unnamed_same_instances": "un-named",
    "forget": "forgotten",
    "holdout": "in the holdout",
}


def figure_of(gate: str, found: dict[str, Any], bound: float) -> Figure:
    """found: one task of the evaluation. Larger is worse."""
    parts = GATES[gate].parts
    counts = {part: _count(found[part]) for part in parts}
    needed = needed_for_auc(bound) if gate == "membership_auc" else MEASURABLE
    if gate == "membership_auc":
        few = min(counts.values()) < MEASURABLE or _chance(*counts.values()) > bound
    else:
        few = min(counts.values()) < MEASURABLE
    if few:
        return Figure(None, counts, needed, too_few=True)
    return Figure(_value(gate, found), counts, needed)


def needed_for_auc(bound: float) -> int:
    """Instances on both sides from which chance alone keeps an AUC within `bound` of ½, 19 times in 20."""
    variance = (max(bound, 1e-3) / Z_95) ** 2
    return max(MEASURABLE, ceil((1 + sqrt(1 + 12 * variance)) / (12 * variance)))


def least_excess(forget: dict[str, Any], holdout: dict[str, Any]) -> float:
    """The lower end of the difference's 95 % interval, in points. These are two samples of different
    instances: on a hundred of each, chance alone makes differences of ten points. (A drop compares the same
    instances before and after.)"""
    error = hypot(forget["value"] - forget["low"], holdout["high"] - holdout["value"])
    return float(forget["value"] - holdout["value"] - error)


def measurable(part: dict[str, Any] | None) -> bool:
    return part is not None and all(
        part[when] is not None and part[when]["n"] >= MEASURABLE and part[when]["value"] is not None
        for when in ("before", "after")
    )


def _value(gate: str, found: dict[str, Any]) -> float | None:
    if gate == "membership_auc":
        return _auc_distance((found.get("membership") or {}).get("after"))
    if gate == "retained_loss":
        return _loss_rise(found.get("loss") or {})
    part = found[GATES[gate].parts[0]]
    if gate == "forget_excess":
        sound = measurable(part) and measurable(found["holdout"])
        return least_excess(part["after"], found["holdout"]["after"]) if sound else None
    return float(part["before"]["value"] - part["after"]["value"]) if measurable(part) else None


def _auc_distance(after: dict[str, Any] | None) -> float | None:
    """The lower end of the 95 % interval of |AUC − ½|: far below ½ tells as much as far above."""
    if not after or after.get("auc") is None or after.get("standard_error") is None:
        return None
    return max(0.0, abs(float(after["auc"]) - 0.5) - Z_95 * float(after["standard_error"]))


def _loss_rise(loss: dict[str, Any]) -> float | None:
    retain, holdout = loss.get("retain"), loss.get("holdout")
    if not retain or not holdout or None in (*retain.values(), holdout["before"]) or holdout["before"] <= 0:
        return None
    return float(100 * (retain["after"] - retain["before"]) / holdout["before"])


def _chance(members: int, non_members: int) -> float:
    """Half of the 95 % interval of the AUC of two samples that cannot be told apart (Mann & Whitney 1947)."""
    return Z_95 * sqrt((members + non_members + 1) / (12 * members * non_members))


def _count(part: dict[str, Any] | None) -> int:
    """The smaller number of instances, before and after."""
    return min((part[when] or {}).get("n", 0) for when in ("before", "after")) if part else 0
