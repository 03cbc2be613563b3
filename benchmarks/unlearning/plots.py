"""Plots of the rows, as PNG. A method looks the same in all of them (`methods_shown`)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.unlearning.configurations import NOTHING
from benchmarks.unlearning.figures import AVERAGE_GAP, DISTANCE, FLOOR_OF, TIME_SHARE, UIS
from benchmarks.unlearning.grid import OURS
from benchmarks.unlearning.methods_shown import style, title
from benchmarks.unlearning.rebound import curve_of, with_floors
from benchmarks.unlearning.statistics_of_rows import Row, by_seed, of_method, spread

NOTE_WIDTH = 190
"""Characters of a line below the plots."""
TICKS = (0, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
RANDOM, CLUSTERED = "#1f77b4", "#ff7f0e"


def plot_all(base: Sequence[Row], sequences: Sequence[Row], folder: Path) -> list[Path]:
    """Those that there are rows for."""
    folder.mkdir(parents=True, exist_ok=True)
    base = [row for row in base if "scores" in row]
    sequences = [row for row in sequences if row.get("rebound")]
    plots: list[tuple[str, Sequence[Row], Callable[[Sequence[Row], Figure], None]]] = [
        ("cost.png", base, _against_cost),
        ("before_after.png", base, _before_after),
        ("rebound.png", sequences, _rebound),
    ]
    written = []
    for name, rows, draw in plots:
        if rows:
            figure = Figure(layout="constrained")
            draw(rows, figure)
            figure.savefig(folder / name, dpi=110)
            written.append(folder / name)
    return written


def _against_cost(rows: Sequence[Row], figure: Figure) -> None:
    """AvgGap, UIS and AUC distance against processor time as a share of retraining's, per data set."""
    sources, methods = _names(rows, lambda row: row["problem"]["source"]), _methods(rows)
    measures = (("AvgGap (points)", AVERAGE_GAP), ("UIS (%)", UIS), ("AUC gap", DISTANCE))
    figure.set_size_inches(4.2 * len(measures) + 2.4, 3.4 * len(sources) + 0.3)
    axes = figure.subplots(len(sources), len(measures), squeeze=False)
    for line, source in zip(axes, sources, strict=True):
        here = [row for row in rows if row["problem"]["source"] == source]
        for axis, (name, measure) in zip(line, measures, strict=True):
            right = 1.0
            for method in methods:
                mine = of_method(here, method)
                value, cost = spread(mine, measure), spread(mine, TIME_SHARE)
                if value is None or cost is None:
                    continue
                right = max(right, cost.mean)
                axis.errorbar(
                    cost.mean, value.mean, yerr=value.sd, linestyle="", capsize=2, elinewidth=1,
                    label=title(method), zorder=5 if method == OURS else 3, **style(method).drawn(),
                )  # fmt: skip
            level = spread(here, FLOOR_OF[measure])
            if level is not None:
                axis.axhline(
                    level.mean, color="black", linestyle=":", zorder=1,
                    label="a further retraining, on average",
                )  # fmt: skip
            axis.axvline(1, color="black", linewidth=1, zorder=1, label="retraining's time")
            axis.set(xlabel="time / retraining's", ylabel=name, title=source)
            axis.set_xscale("symlog", linthresh=0.05)
            axis.set_xlim(-0.005, 1.6 * right)
            ticks = [tick for tick in TICKS if tick <= 1.6 * right]
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_xticks([], minor=True)
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
    figure.legend(*_legend(axes.flatten()), loc="outside right upper", fontsize=8)
    figure.supxlabel(_note(rows, "Bars: ± one standard deviation over seeds."), fontsize=8)


def _before_after(rows: Sequence[Row], figure: Figure) -> None:
    """Per task: the forget set's metric before and after each method; lines where retraining puts it."""
    pairs = sorted({(row["problem"]["source"], task) for row in rows for task in row["scores"]["tasks"]})
    methods = [method for method in _methods(rows) if method != NOTHING]
    width = min(3, len(pairs))
    height = -(-len(pairs) // width)
    figure.set_size_inches(4.6 * width, (0.26 * len(methods) + 1.4) * height + 0.3)
    axes = figure.subplots(height, width, squeeze=False).flatten()
    for axis in axes[len(pairs) :]:
        axis.set_axis_off()
    for axis, (source, task) in zip(axes, pairs, strict=False):
        found = [
            (row["method"], row["request"]["selection"], row["scores"]["tasks"][task])
            for row in rows
            if row["problem"]["source"] == source and row["scores"]["tasks"].get(task, {}).get("named")
        ]
        for selection, colour in (("random", RANDOM), ("clustered", CLUSTERED)):
            chosen = [(method, entry) for method, kind, entry in found if kind == selection]
            _arrows(axis, methods, chosen, colour, selection)
        axis.set_yticks(range(len(methods)), [title(method) for method in methods], fontsize=7)
        for text, method in zip(axis.get_yticklabels(), methods, strict=True):
            text.set_fontweight("bold" if method == OURS else "normal")
        axis.invert_yaxis()
        axis.set_title(f"{source}: {task}", fontsize=9)
        axis.set_xlabel("metric on the forget set (points)", fontsize=8)
        axis.grid(axis="x", alpha=0.3)
    note = _note(rows, "From before unlearning to after it; the dotted lines are the goal.")
    figure.legend(
        *_legend(axes), loc="outside lower center", ncols=5, fontsize=8, title=note, title_fontsize=8
    )


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
        axis.plot(
            [old], [line + offset], "|", color="grey", markersize=6, label="before unlearning",
        )  # fmt: skip
        axis.plot(
            [new], [line + offset], "o", color=colour, markersize=4,
            label=f"after ({selection})",
        )  # fmt: skip


def _rebound(rows: Sequence[Row], figure: Figure) -> None:
    """The first request's forget gap after each later job, per data set."""
    sources, methods = _names(rows, lambda row: row["problem"]["source"]), _methods(rows)
    figure.set_size_inches(4.4 * len(sources) + 2.2, 4.4)
    axes = figure.subplots(1, len(sources), squeeze=False)[0]
    for axis, source in zip(axes, sources, strict=True):
        for method in methods:
            mine = [row for row in rows if (row["problem"]["source"], row["method"]) == (source, method)]
            curve = curve_of(mine)
            axis.plot(
                range(1, len(curve) + 1), [gap for gap, _ in curve], label=title(method),
                linewidth=2.5 if method == OURS else 1, linestyle="--" if method == NOTHING else "-",
                zorder=5 if method == OURS else 3, **style(method).drawn(),
            )  # fmt: skip
        if known := with_floors([row for row in rows if row["problem"]["source"] == source]):
            curve = curve_of(known, retrained=True)
            axis.plot(
                range(1, len(curve) + 1), [gap for gap, _ in curve],
                label="a further retraining, on average", color="black", linestyle=":",
            )  # fmt: skip
        axis.set(xlabel="jobs done", ylabel="first request's forget gap (points)", title=source)
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    figure.legend(*_legend(axes), loc="outside right upper", fontsize=8)
    figure.supxlabel(_note(rows, "Means over seeds."), fontsize=8)


def _legend(axes: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """Each label once: handles, labels."""
    named = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    return list(named.values()), list(named)


def _note(rows: Sequence[Row], text: str) -> str:
    """The text, and which methods have fewer seeds than others on a data set; broken into lines."""
    told: dict[str, list[str]] = {}
    for source in _names(rows, lambda row: row["problem"]["source"]):
        here = [row for row in rows if row["problem"]["source"] == source]
        seeds = len(by_seed(here, AVERAGE_GAP))
        for method in _methods(here):
            mine = len(by_seed(of_method(here, method), AVERAGE_GAP))
            if mine < seeds:
                told.setdefault(f"{mine} of {seeds} seeds on {source}", []).append(title(method))
    sentences = [f"{fewer}: {', '.join(methods)}." for fewer, methods in told.items()]
    return "\n".join(fill(sentence, NOTE_WIDTH) for sentence in [text, *sentences])


def _methods(rows: Sequence[Row]) -> list[str]:
    """Ours first, no unlearning last."""
    found = _names(rows, lambda row: row["method"])
    return sorted(found, key=lambda method: (method != OURS, method == NOTHING, method))


def _names(rows: Sequence[Row], name: Callable[[Row], Any]) -> list[str]:
    return list(dict.fromkeys(str(name(row)) for row in rows))
