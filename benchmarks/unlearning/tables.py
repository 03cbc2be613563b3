"""Markdown tables from rows."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from benchmarks.unlearning.configurations import NOTHING, Configuration
from benchmarks.unlearning.figures import (
    AVERAGE_GAP,
    COLUMNS,
    DISTANCE,
    FLOOR_COLUMNS,
    FLOOR_OF,
    PASSES_SHARE,
    TIME_SHARE,
    UIS,
    shown,
)  # fmt: skip
from benchmarks.unlearning.grid import OURS
from benchmarks.unlearning.markdown import markdown_table
from benchmarks.unlearning.methods_shown import label, title
from benchmarks.unlearning.statistics_of_rows import Figure, Row, by_seed, of_method, spread


def comparison(rows: Sequence[Row]) -> str:
    """Methods from the smallest gap on; above them a further retraining, below them no unlearning."""
    body = [["a further retraining, on average", *_floor_cells(rows)]]
    for method in _ranked(rows):
        mine = of_method(rows, method)
        refused = sum("refused" in row for row in mine)
        cells = [shown(spread(mine, figure), places) for figure, places in COLUMNS.values()]
        name = label(method) + fewer(mine, rows) + (f" ({refused} refused)" if refused else "")
        body.append([name, *cells])
    return markdown_table(["method", *COLUMNS], body)


def fewer(mine: Sequence[Row], rows: Sequence[Row]) -> str:
    """How many data sets and seeds these rows cover, in brackets, if they are fewer than the table's."""
    count, all_of_them = len(by_seed(mine, AVERAGE_GAP)), len(by_seed(rows, AVERAGE_GAP))
    return f" (n = {count})" if count < all_of_them else ""


def before(rows: Sequence[Row]) -> str:
    """What was there to forget: per data set and task, memorisation of the forget set before unlearning."""
    body = []
    originals = [row for row in rows if row["method"] == NOTHING and "scores" in row]
    for source in _ordered(row["problem"]["source"] for row in originals):
        mine = [row for row in originals if row["problem"]["source"] == source]
        for task in mine[0]["scores"]["tasks"]:
            found = [row["scores"]["tasks"][task] for row in mine]
            named = [one for one in found if one["named"]]
            cells = [fmean(one["before"][part] for one in found) for part in ("retain", "test")]
            auc = fmean(one["membership_before"] for one in named) if named else float("nan")
            gone = fmean(one["retrained"]["forget"] for one in named) if named else float("nan")
            own = fmean(one["before"]["forget"] for one in named) if named else float("nan")
            body.append([source, task, *[f"{cell:.1f}" for cell in (*cells, own, gone)], f"{auc:.3f}"])
    titles = ["data", "task", "retained", "held out", "forget set", "the same, retrained", "membership AUC"]
    return markdown_table(titles, body)


def by_setting(rows: Sequence[Row], setting_title: str, setting: Callable[[Row], Any]) -> str:
    """One line per data set, setting and method."""
    body = []
    keys = sorted(
        {(str(row["problem"]["source"]), setting(row), str(row["method"])) for row in rows}, key=str
    )
    for source, value, method in keys:
        mine = [
            row
            for row in rows
            if (row["problem"]["source"], setting(row), row["method"]) == (source, value, method)
        ]
        body.append(
            [
                source,
                str(value),
                label(method) + fewer(mine, [row for row in rows if row["problem"]["source"] == source]),
                *[shown(spread(mine, f), p) for f, p in ((AVERAGE_GAP, 2), (DISTANCE, 3), (UIS, 1))],
                *[shown(spread(mine, f), 2) for f in (TIME_SHARE, PASSES_SHARE)],
            ]
        )
    return markdown_table(
        ["data", setting_title, "method", "AvgGap", "AUC gap", "UIS %", "time", "passes"], body
    )


def aimed(base: Sequence[Row], rows: Sequence[Row]) -> str:
    """Per data set and kind of request: UIS and AvgGap of the published method with the smallest UIS, of a
    retrained network, of ours, and of ours aimed at the holdout (`rows`); shares are of the published one's
    UIS."""
    body = []
    groups = _ordered(f"{row['problem']['source']}, {kind(row)}" for row in rows)
    for group in groups:
        theirs = [row for row in rows if f"{row['problem']['source']}, {kind(row)}" == group]
        same = {repr((row["problem"], row["request"])) for row in theirs}
        here = [row for row in base if repr((row["problem"], row["request"])) in same]
        published = [name for name in _ranked(here) if name not in (OURS, NOTHING)]
        if not published:
            continue
        best = min(published, key=lambda name: _mean(of_method(here, name), UIS))
        least = _mean(of_method(here, best), UIS)
        ours = of_method(here, OURS)
        cells = [group, title(best), f"{least:.1f}"]
        for mine, figure in ((ours, FLOOR_OF[UIS]), (ours, UIS), (theirs, UIS)):
            below = f"{_mean(mine, figure) / least - 1:+.0%}"
            cells += [f"{shown(spread(mine, figure), 1)} ({below})"]
        cells += [
            f"{_mean(of_method(here, best), AVERAGE_GAP):.2f}",
            *[shown(spread(mine, AVERAGE_GAP), 2) for mine in (ours, theirs)],
        ]
        body.append(cells)
    titles = ["requests", "published", "its UIS %", "retraining's", "ours", "ours, aimed at the holdout"]
    return markdown_table([*titles, "AvgGap: published", "ours", "aimed at the holdout"], body)


def costs(rows: Sequence[Row]) -> str:
    """Passes and seconds of one run each, against what they might grow with."""
    body = []
    for row in sorted(rows, key=lambda row: (row["problem"]["source"], row["method"], _size(row))):
        if "cost" not in row:
            continue
        cost = row["cost"]
        cells = [
            row["problem"]["source"],
            label(row["method"]),
            *[str(number) for number in _size(row)],
            str(cost["passes"]),
            f"{cost['processor_seconds']:.1f}",
            f"{cost['time_share']:.2f}",
        ]
        body.append(cells)
    titles = ["data", "method", "forgotten", "instances", "tasks", "parameters", "passes", "seconds", "time"]
    return markdown_table(titles, body)


def described(row: Row) -> str:
    """A row's configuration."""
    return Configuration(**row["configuration"]).described()


def kind(row: Row) -> str:
    """full, mixed or partial."""
    scope = row["request"]["scope"]
    return scope if scope in ("full", "mixed") else "partial"


def _mean(rows: Sequence[Row], figure: Figure) -> float:
    """Over seeds; infinite if no row has the figure."""
    found = spread(rows, figure)
    return float("inf") if found is None else found.mean


def _size(row: Row) -> tuple[int, int, int, int]:
    tasks = len(row["scores"]["tasks"]) if "scores" in row else 0
    return (row.get("forgotten", 0), row.get("instances", 0), tasks, row.get("parameters", 0))


def _floor_cells(rows: Sequence[Row]) -> list[str]:
    """Every method's row of a request carries the same floor: one of them is enough."""
    seen: dict[str, Row] = {}
    for row in rows:
        if "scores" in row:
            seen.setdefault(repr((row["problem"], row["request"])), row)
    return [shown(spread(list(seen.values()), figure), places) for figure, places in FLOOR_COLUMNS.values()]


def _ranked(rows: Sequence[Row]) -> list[str]:
    """Methods by AvgGap; nothing at all comes last."""
    found = {}
    for method in _ordered(row["method"] for row in rows):
        value = spread(of_method(rows, method), AVERAGE_GAP)
        found[method] = float("inf") if value is None else value.mean
    return sorted(found, key=lambda method: (method == NOTHING, found[method]))


def _ordered(names: Any) -> list[str]:
    return list(dict.fromkeys(str(name) for name in names))
