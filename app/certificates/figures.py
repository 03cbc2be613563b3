"""A statement's measurements, as the page shows them: drawings, tables, and what they mean in a sentence."""

from dataclasses import dataclass
from math import hypot
from typing import Any

from markupsafe import Markup

from app.certificates.limits import MEASURABLE
from app.certificates.plots import Axis, Point, Row, draw, points_axis

Z_95 = 1.959964
PARTS = (
    ("forget", "Forgotten"),
    ("holdout", "Never seen"),
    ("retain", "Retained"),
    ("unnamed_same_instances", "Not named, same instances"),
)


@dataclass(frozen=True)
class TaskFigures:
    name: str
    metric: str
    named: bool
    plot: Markup | None
    rows: list[dict[str, str]]
    reading: str | None


def in_order(tasks: dict[str, Any], named: list[str]) -> dict[str, Any]:
    """The named tasks as the request has them, then the others."""
    names = [*(name for name in named if name in tasks), *(name for name in tasks if name not in named)]
    return {name: tasks[name] for name in names}


def task_figures(tasks: dict[str, Any]) -> list[TaskFigures]:
    return [_task(name, task) for name, task in tasks.items()]


def membership_plot(tasks: dict[str, Any]) -> Markup | None:
    rows = [
        _membership_row(name, task["membership"])
        for name, task in tasks.items()
        if task.get("membership") and task["membership"].get("after")
    ]
    if not rows:
        return None
    ends = [point.low for row in rows for point in (row.before, row.after) if point]
    axis = Axis(0.2 if min(ends) < 0.4 else 0.4, 1.0, 0.1, decimals=2)
    return draw("Membership inference: area under the curve, before and after", rows, axis, None, line=0.5)


def _task(name: str, task: dict[str, Any]) -> TaskFigures:
    rows = [
        Row(label, f"{_count(part)} labels", _point(part["before"]), _point(part["after"]))
        for key, label in PARTS
        if (part := task.get(key))
    ]
    holdout = task.get("holdout")
    band = _point(holdout["after"]) if holdout else None
    metric = str(task.get("metric", "metric"))
    plot = draw(f"{name}: {metric} before and after", rows, points_axis(rows), band) if rows else None
    table = [
        {"label": row.label, "note": row.note, "before": _figure(row.before), "after": _figure(row.after)}
        for row in rows
    ]
    return TaskFigures(name, metric, bool(task.get("named")), plot, table, _reading(task))


def _reading(task: dict[str, Any]) -> str | None:
    """Forgotten beside never seen, after: two samples, so their difference has the margin of both."""
    forget, holdout = (
        _point(task[part]["after"]) if task.get(part) else None for part in ("forget", "holdout")
    )
    if forget is None or holdout is None or not task.get("named"):
        return None
    counts = [int(task[part]["after"].get("n", 0)) for part in ("forget", "holdout")]
    if min(counts) < MEASURABLE:
        return (
            f"Too few to tell by this score ({counts[0]:,} forgotten, {counts[1]:,} never seen; at least "
            f"{MEASURABLE} of each are needed)."
        )
    difference = forget.value - holdout.value
    margin = hypot((forget.high - forget.low) / 2, (holdout.high - holdout.low) / 2)
    told = f"difference {difference:+.1f} points, give or take {margin:.1f}".replace("-", "−")
    if abs(difference) <= margin:
        return f"By this score, the forgotten data cannot be told from data never seen ({told})."
    side = "better" if difference > 0 else "worse"
    return f"By this score, the model is {side} on the forgotten data than on data never seen ({told})."


def _membership_row(name: str, found: dict[str, Any]) -> Row:
    after = found["after"]
    note = f"{after['members']} forgotten, {after['non_members']} never seen"
    return Row(name, note, *(_auc(found.get(when)) for when in ("before", "after")))


def _auc(found: dict[str, Any] | None) -> Point | None:
    if not found or found.get("auc") is None:
        return None
    margin = Z_95 * (found["standard_error"] or 0.0)
    return Point(found["auc"], found["auc"] - margin, found["auc"] + margin)


def _point(estimate: dict[str, Any] | None) -> Point | None:
    if not estimate or estimate.get("value") is None:
        return None
    value = float(estimate["value"])
    low, high = estimate.get("low"), estimate.get("high")
    return Point(value, value if low is None else float(low), value if high is None else float(high))


def _count(part: dict[str, Any]) -> str:
    estimate = part.get("after") or part.get("before") or {}
    return f"{estimate.get('n', 0):,}"


def _figure(point: Point | None) -> str:
    return f"{point.value:.1f} ({point.low:.1f} to {point.high:.1f})" if point else "not measured"
