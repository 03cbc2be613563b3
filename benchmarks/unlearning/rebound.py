"""What sequences of jobs come to: what was forgotten, and what is retained, after the last one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.unlearning.figures import COLUMNS, FLOOR_COLUMNS, ONCE_MORE
from benchmarks.unlearning.markdown import markdown_table
from benchmarks.unlearning.methods_shown import label
from benchmarks.unlearning.statistics_of_rows import Row, of_method
from benchmarks.unlearning.tables import fewer

Gaps = tuple[float, float]
"""A forget gap and an AUC gap."""


@dataclass(frozen=True)
class SequenceEnd:
    """Gaps after the last job. forget, auc: means over the requests of all jobs."""

    forget: float
    auc: float
    retain: float
    test: float

    @property
    def average(self) -> float:
        """AvgGap of the requests of all jobs, each of which names every task."""
        return fmean((self.forget, self.retain, self.test))


def rebounds(rows: Sequence[Row]) -> str:
    """Methods from the smallest AvgGap after the last job on; above them a further retraining."""
    body, width = [], 0
    for source in dict.fromkeys(row["problem"]["source"] for row in rows):
        here = [row for row in rows if row["problem"]["source"] == source and row.get("rebound")]
        known = with_floors(here)
        ends = {
            method: end_of(of_method(here, method)) for method in dict.fromkeys(row["method"] for row in here)
        }
        lines = [
            (label(method) + fewer(of_method(here, method), here), end, curve_of(of_method(here, method)))
            for method, end in sorted(ends.items(), key=lambda pair: pair[1].average)
        ]
        if known:
            again = end_of(known, retrained=True), curve_of(known, retrained=True)
            lines.insert(0, ("a further retraining, on average", *again))
        for name, end, curve in lines:
            width = max(width, len(curve))
            body.append([source, name, *_cells(end, curve)])
    titles = ["data", "method", "AvgGap", "forget gap", "AUC gap", "retain gap", "test gap"]
    return markdown_table([*titles, *[f"first, after job {step + 1}" for step in range(width)]], body)


def with_floors(rows: Sequence[Row]) -> list[Row]:
    """Those that know what a further retraining would score after each job."""
    return [row for row in rows if row.get("rebound") and "floor" in row["rebound"][0]]


def end_of(rows: Sequence[Row], *, retrained: bool = False) -> SequenceEnd:
    """Means over rows with rebounds. retrained: of a further retraining in the method's place."""
    gaps = [
        _gaps(entry, retrained=retrained)
        for row in rows
        for entry in row["rebound"]
        if entry["after"] == row["request"]["jobs"] - 1
    ]
    figures = FLOOR_COLUMNS if retrained else COLUMNS
    retain, test = (
        fmean(value for row in rows if (value := figures[name][0](row)) is not None)
        for name in ("retain gap", "test gap")
    )
    return SequenceEnd(fmean(forget for forget, _ in gaps), fmean(auc for _, auc in gaps), retain, test)


def curve_of(rows: Sequence[Row], *, retrained: bool = False) -> list[Gaps]:
    """Per job, of the first request: means over rows."""
    found: dict[int, list[Gaps]] = {}
    for row in rows:
        for entry in row.get("rebound", []):
            if entry["request"] == 0:
                found.setdefault(entry["after"], []).append(_gaps(entry, retrained=retrained))
    return [(fmean(f for f, _ in found[step]), fmean(a for _, a in found[step])) for step in sorted(found)]


def _gaps(entry: Mapping[str, Any], *, retrained: bool) -> Gaps:
    if retrained:
        return ONCE_MORE * entry["floor"]["forget_gap"], ONCE_MORE * entry["floor"]["auc_distance"]
    return entry["forget_gap"], entry["auc_distance"]


def _cells(end: SequenceEnd, curve: Sequence[Gaps]) -> list[str]:
    own = f"{end.average:.2f}", f"{end.forget:.1f}", f"{end.auc:.3f}", f"{end.retain:.2f}", f"{end.test:.2f}"
    return [*own, *[f"{forget:.1f} / {auc:.3f}" for forget, auc in curve]]
