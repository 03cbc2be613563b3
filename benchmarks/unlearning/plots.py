"""Plots of the rows, as PNG."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.unlearning.configurations import NOTHING
from benchmarks.unlearning.figures import AVERAGE_GAP, DISTANCE, TIME_SHARE, UIS
from benchmarks.unlearning.grid import OURS
from benchmarks.unlearning.statistics_of_rows import Row, spread
from benchmarks.unlearning.tables import rebound_curve

COLOURS = (
    "#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#ff7f0e",
    "#7f7f7f", "#393b79", "#637939", "#8c6d31", "#843c39", "#7b4173",
)  # fmt: skip
TICKS = (0, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
MARKERS = "*osD^v<>phX8dPH"


def plot_all(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Those that there are rows for."""
    folder.mkdir(parents=True, exist_ok=True)
    base = [row for row in rows if row["axis"] == "base" and "scores" in row]
    sequences = [row for row in rows if row["axis"] == "sequence" and row.get("rebound")]
    plots: list[tuple[str, Sequence[Row], Callable[[Sequence[Row], Figure], None]]] = [
        ("cost.png", base, _against_cost),
        ("before_after.png", base, _before_after),
        ("rebound.png", sequences, _rebound),
    ]
    written = []
    for name, chosen, draw in plots:
        if chosen:
            figure = Figure(layout="constrained")
            draw(chosen, figure)
            figure.savefig(folder / name, dpi=110)
            written.append(folder / name)
    return written


def _against_cost(rows: Sequence[Row], figure: Figure) -> None:
    """AvgGap, UIS and AUC distance against processor time as a share of retraining's, per data set."""
    sources, methods = _names(rows, lambda row: row["problem"]["source"]), _methods(rows)
    measures = (("AvgGap (points)", AVERAGE_GAP), ("UIS (%)", UIS), ("AUC gap", DISTANCE))
    figure.set_size_inches(4.2 * len(measures) + 2, 3.4 * len(sources))
    axes = figure.subplots(len(sources), len(measures), squeeze=False)
    for line, source in zip(axes, sources, strict=True):
        here = [row for row in rows if row["problem"]["source"] == source]
        for axis, (title, measure) in zip(line, measures, strict=True):
            for number, method in enumerate(methods):
                mine = [row for row in here if row["method"] == method]
                value, cost = spread(mine, measure), spread(mine, TIME_SHARE)
                if value is None or cost is None:
                    continue
                axis.errorbar(
                    cost.mean, value.mean, yerr=value.sd, fmt=MARKERS[number % len(MARKERS)],
                    color=COLOURS[number % len(COLOURS)], markersize=13 if method == OURS else 7,
                    label=_title(method), capsize=2, linewidth=1,
                )  # fmt: skip
            names = {AVERAGE_GAP: "average_gap", UIS: "uis", DISTANCE: "auc_distance"}
            level = fmean(row["floor"][names[measure]] for row in here)
            axis.axhline(level, color="black", linestyle=":", label="retraining itself")
            axis.set(xlabel="time / retraining's", ylabel=title, title=source)
            axis.set_xscale("symlog", linthresh=0.05)
            axis.set_xlim(left=-0.005)
            ticks = [tick for tick in TICKS if tick <= axis.get_xlim()[1]]
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)


def _before_after(rows: Sequence[Row], figure: Figure) -> None:
    """Per task: the forget set's metric before and after each method; lines where retraining puts it."""
    pairs = sorted({(row["problem"]["source"], task) for row in rows for task in row["scores"]["tasks"]})
    methods = [method for method in _methods(rows) if method != NOTHING]
    width = min(3, len(pairs))
    height = -(-len(pairs) // width)
    figure.set_size_inches(4.6 * width, (0.26 * len(methods) + 1.4) * height)
    axes = figure.subplots(height, width, squeeze=False).flatten()
    for axis in axes[len(pairs) :]:
        axis.set_axis_off()
    for axis, (source, task) in zip(axes, pairs, strict=False):
        found = [
            (row["method"], row["request"]["selection"], row["scores"]["tasks"][task])
            for row in rows
            if row["problem"]["source"] == source and row["scores"]["tasks"].get(task, {}).get("named")
        ]
        for selection, colour in (("random", "#1f77b4"), ("clustered", "#ff7f0e")):
            chosen = [(method, entry) for method, kind, entry in found if kind == selection]
            _arrows(axis, methods, chosen, colour, selection)
        axis.set_yticks(range(len(methods)), [_title(method) for method in methods], fontsize=7)
        axis.invert_yaxis()
        axis.set_title(f"{source}: {task}", fontsize=9)
        axis.set_xlabel("metric on the forget set (points)", fontsize=8)
        axis.grid(axis="x", alpha=0.3)
    named = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, fontsize=8)


def _arrows(
    axis: Any, methods: Sequence[str], found: Sequence[tuple[str, Any]], colour: str, selection: str
) -> None:
    if not found:
        return
    goal = fmean(entry["retrained"]["forget"] for _, entry in found)
    axis.axvline(goal, color=colour, linestyle=":", label=f"retrained ({selection})")
    offset = -0.15 if selection == "random" else 0.15
    for line, method in enumerate(methods):
        mine = [entry for name, entry in found if name == method]
        if not mine:
            continue
        old = fmean(entry["before"]["forget"] for entry in mine)
        new = fmean(entry["after"]["forget"] for entry in mine)
        axis.plot([old, new], [line + offset] * 2, color=colour, linewidth=1, alpha=0.5)
        axis.plot([old], [line + offset], "|", color="grey", markersize=6)
        axis.plot(
            [new], [line + offset], "o", color=colour, markersize=4,
            label=f"after ({selection})",
        )  # fmt: skip


def _rebound(rows: Sequence[Row], figure: Figure) -> None:
    """The first request's forget gap after each later job, per data set."""
    sources, methods = _names(rows, lambda row: row["problem"]["source"]), _methods(rows)
    figure.set_size_inches(4.4 * len(sources) + 2, 3.6)
    axes = figure.subplots(1, len(sources), squeeze=False)[0]
    for axis, source in zip(axes, sources, strict=True):
        for number, method in enumerate(methods):
            mine = [row for row in rows if (row["problem"]["source"], row["method"]) == (source, method)]
            curve = rebound_curve(mine)
            axis.plot(
                range(1, len(curve) + 1), [gap for gap, _ in curve], marker=MARKERS[number % len(MARKERS)],
                color=COLOURS[number % len(COLOURS)], label=_title(method),
                linewidth=2.5 if method == OURS else 1,
            )  # fmt: skip
        axis.set(xlabel="jobs done", ylabel="first request's forget gap (points)", title=source)
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)


def _methods(rows: Sequence[Row]) -> list[str]:
    """Ours first, so that colours stay."""
    found = _names(rows, lambda row: row["method"])
    return sorted(found, key=lambda method: (method != OURS, method == NOTHING, method))


def _names(rows: Sequence[Row], name: Callable[[Row], Any]) -> list[str]:
    return list(dict.fromkeys(str(name(row)) for row in rows))


def _title(method: str) -> str:
    return "no unlearning" if method == NOTHING else method.replace("_", " ")
