"""Gates: bounds on the evaluation that a candidate must keep to be published.

A bound is one number for all tasks, or one per task. What too few instances stand behind decides nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worker.pipeline.gate_figures import CALLED, GATES, Figure, figure_of, least_excess, measurable

EARLIER = "earlier_excess"


@dataclass(frozen=True)
class Miss:
    """A bound that was not kept, in points of the task's metric or as the gate has it. `came_back`: requests
    of earlier jobs."""

    gate: str
    task: str
    bound: float
    figure: float
    came_back: tuple[str, ...] = ()

    def sentence(self) -> str:
        if self.gate == EARLIER:
            said = (
                f"is at least {self.figure:.1f} points better on what earlier requests had forgotten than on "
                "the holdout"
            )
        else:
            said = GATES[self.gate].missed.format(GATES[self.gate].shown(self.figure))
        return f"Task {self.task!r} {said}; at most {self.bound:g} are allowed."


def missed_gates(report: dict[str, Any], gates: dict[str, Any], again: bool = False) -> list[Miss]:
    """Compare a report with a policy's bounds; a bound that the policy does not have is not checked. `again`:
    what came back was unlearned again in this job, so that no stricter bound than `forget_excess` is asked.

    What is a difference between two samples is missed only beyond what chance explains. Exact retraining is
    not asked how well it has forgotten: a high score there is what any network scores that never saw it.
    """
    own = [
        Miss(gate, task, bound, figure.value)
        for gate, task, bound, figure in _asked(report, gates)
        if figure.value is not None and figure.value > bound
    ]
    return [*own, *_came_back(report, gates, again)]


def gate_record(
    report: dict[str, Any], gates: dict[str, Any], missed: list[Miss], again: bool = False
) -> dict[str, Any]:
    """What a certificate may say: per gate and task what was decided, and what could not be measured.

    `passed` is None when nothing was decided: a bound that nobody measured was neither kept nor missed.
    """
    decided, not_measured = [], []
    for gate, task, bound, figure in _asked(report, gates):
        entry = {"gate": gate, "task": task, "bound": bound}
        if figure.value is not None:
            decided.append(entry | _decision(gate, task, bound, figure.value))
        else:
            not_measured.append(entry | _gap(gate, task, figure))
    decided += _earlier_decisions(report, gates, missed, again)
    passed = False if missed else True if decided else None
    return {
        "bounds": gates,
        "passed": passed,
        "missed": [miss.sentence() for miss in missed],
        "decided": decided,
        "not_measured": not_measured,
    }


def bound_of(gates: dict[str, Any], gate: str, task: str) -> float | None:
    """None: the policy has none."""
    bound = gates.get(gate)
    if isinstance(bound, dict):
        bound = bound.get(task)
    return None if bound is None else float(bound)


def _asked(report: dict[str, Any], gates: dict[str, Any]) -> Iterator[tuple[str, str, float, Figure]]:
    """What the policy asks of this report: gate, task, bound, and what was measured."""
    exact = report["run"]["guarantee"] == "exact"
    for task, found in report["tasks"].items():
        for gate, about in GATES.items():
            bound = bound_of(gates, gate, task)
            if bound is None or found[about.parts[0]] is None or (exact and about.of_forgetting):
                continue
            yield gate, task, bound, figure_of(gate, found, bound)


def _came_back(report: dict[str, Any], gates: dict[str, Any], again: bool) -> Iterator[Miss]:
    """What earlier jobs had forgotten and this candidate knows again: beyond the bound where the base was
    within it, or else beyond what the base knew of it."""
    for level, bound, after, before in _earlier(report, gates, again):
        if after > bound and (before <= bound or level["risen"]):
            yield Miss(EARLIER, level["task"], bound, after, tuple(level["references"]))


def _earlier(
    report: dict[str, Any], gates: dict[str, Any], again: bool
) -> Iterator[tuple[dict[str, Any], float, float, float]]:
    """Each level that can be measured, with its bound and its excess after and before."""
    if report["run"]["guarantee"] == "exact":
        return
    for level in report.get("earlier_levels", []):
        bound = _earlier_bound(gates, level["task"], again)
        forget, holdout = level["forget"], report["tasks"][level["task"]]["holdout"]
        if bound is not None and measurable(forget) and measurable(holdout):
            after, before = (least_excess(forget[when], holdout[when]) for when in ("after", "before"))
            yield level, bound, after, before


def _earlier_bound(gates: dict[str, Any], task: str, again: bool) -> float | None:
    """Policies of earlier days have none of their own for what had been forgotten before."""
    own, of_all = (bound_of(gates, gate, task) for gate in (EARLIER, "forget_excess"))
    if own is None or of_all is None:
        return of_all if again or own is None else own
    return max(own, of_all) if again else own


def _earlier_decisions(
    report: dict[str, Any], gates: dict[str, Any], missed: list[Miss], again: bool
) -> list[dict[str, Any]]:
    """One per task, of the level that stands out most; it names no request."""
    worst: dict[str, tuple[float, float]] = {}
    for level, bound, after, _ in _earlier(report, gates, again):
        worst[level["task"]] = max(worst.get(level["task"], (after, bound)), (after, bound))
    back = {miss.task for miss in missed if miss.gate == EARLIER}
    return [
        {
            "gate": EARLIER,
            "task": task,
            "bound": bound,
            "figure": figure,
            "kept": task not in back,
            "says": f"Task {task!r}, lead of what earlier requests had forgotten over the holdout, beyond "
            f"chance: {_shown(figure, f'{figure:.1f} points')}, at most {bound:g} are allowed: "
            + ("not kept." if task in back else "kept." if figure <= bound else "no more than before."),
        }
        for task, (figure, bound) in worst.items()
    ]


def _decision(gate: str, task: str, bound: float, figure: float) -> dict[str, Any]:
    kept, about = figure <= bound, GATES[gate]
    shown = _shown(figure, f"{about.shown(figure)}{about.unit}")
    says = f"Task {task!r}, {about.about}: {shown}, at most {bound:g} are allowed: "
    return {"figure": figure, "kept": kept, "says": says + ("kept." if kept else "not kept.")}


def _shown(figure: float, written: str) -> str:
    """Below zero there is nothing of what a bound is about."""
    return written if figure > 0 else "none"


def _gap(gate: str, task: str, figure: Figure) -> dict[str, Any]:
    """Why a bound was not measured, with the numbers of instances."""
    numbers = " and ".join(f"{count} {CALLED[part]}" for part, count in figure.counts.items())
    why = f"could not be measured, the score has no value ({numbers})"
    if figure.too_few:
        why = f"too few to measure ({numbers}; {figure.needed} are needed)"
    says = f"Task {task!r}, {GATES[gate].about}: {why}."
    return {"instances": figure.counts, "needed": figure.needed, "says": says}
