"""The table and the plot of a line of versions."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

RETRAINED = "retrained each time"


def table(
    runs: Sequence[Mapping[str, Any]],
    options: argparse.Namespace,
    machine: str,
    apart: Sequence[float],
    seconds: float,
) -> str:
    """runs: of each seed the lines by name. apart: of each seed, how far two retrainings without everything
    are apart. Per line, every fourth version: what became of all that was forgotten, and of the rest."""
    rows, told = [], []
    for name in runs[0]:
        lines = [run[name] for run in runs]
        count = len(lines[0].drift)
        for number in sorted({0, *range(3, count, 4), count - 1}):
            figures = [_figures(line, number) for line in lines]
            cells = [_over(figures, place) for place in range(len(figures[0]))]
            if name == RETRAINED:
                cells[-1] = _spread(apart) if number == count - 1 else "–"
            rows.append(f"| {name} | {number + 1} | {' | '.join(cells)} |\n")
        if any(lines[0].seconds):
            back = ", ".join(str(sum(1 for each in line.again if each)) for line in lines)
            told.append(
                f"*{name}*: something had come back beyond the bound after {back} of {count} requests (per "
                f"seed); processor seconds per job {mean(mean(line.seconds) for line in lines):.1f}."
            )
    return (
        "# A line of versions\n\n"
        f"`python -m benchmarks.sequence --seeds {options.seeds} --first {options.first} --requests "
        f"{options.requests}`; {machine}; {seconds:.0f} processor seconds in all.\n\n"
        f"{options.requests} requests of 20 of the 1,000 training instances, in turn for all tasks and for "
        "the task digit alone, each unlearned from the version before. Levels are points of accuracy on the "
        "task digit (labels carry noise: a network can know some by heart only). *Again beyond b*: what came "
        "back and leads the holdout by more than b points, beyond chance, is unlearned again in the same "
        "job; b (`earlier_excess`) is 0 by default. Drift: share of held-out images of which the version "
        "says another digit than a network retrained without all that was forgotten so far; for "
        f"*{RETRAINED}* that is a second one from another seed, after the last request only. Mean ± standard "
        "deviation over seeds.\n\n"
        "| line | version after request | forgotten, mean | held out | lead | highest of one request | "
        "retained: digit | turn | ink | drift |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        + "".join(rows)
        + f"\n{' '.join(told)}\n\nThe first seed:\n\n"
        "![Forget levels, retained accuracy and drift](sequence.png)\n"
    )


def _figures(line: Any, number: int) -> list[float]:
    """Of the version after request `number`, in the table's order."""
    levels = [history[number - first] for first, history in enumerate(line.levels[: number + 1])]
    level, held_out = mean(levels), line.holdout[number]
    retained = line.retained[number].values()
    return [level, held_out, level - held_out, max(levels), *retained, line.drift[number]]


def _over(figures: Sequence[Sequence[float]], place: int) -> str:
    return _spread([each[place] for each in figures])


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


# Colour, dashes, order: lines may lie on one another, and then show between the dashes of the one on top.
LINES = (("#0b5563", "-", 2), ("#d62728", "--", 4), ("#f59e0b", "-", 3), ("#6b7280", ":", 2))


def plot_sequence(lines: Mapping[str, Any], apart: float, file: Path) -> None:
    """The level of every request after every later one, per line; then what is retained, and the drift. A
    retrained network is the one that drift is measured from: instead of it, how far two are apart."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(lines) + 2, figsize=(3.4 * (len(lines) + 2), 3.2))
    for panel, (name, line) in zip(panels, lines.items(), strict=False):
        count = len(line.drift)
        for first, history in enumerate(line.levels):
            panel.plot(range(first + 1, count + 1), history, color="#0b5563", alpha=0.3, linewidth=1)
        means = [
            mean(history[number - first] for first, history in enumerate(line.levels[: number + 1]))
            for number in range(count)
        ]
        panel.plot(range(1, count + 1), means, color="#0b5563", linewidth=2, label="mean of all so far")
        panel.plot(range(1, count + 1), line.holdout, color="#f59e0b", linewidth=2, label="held out")
        panel.set_title(f"forgotten: {name}", fontsize=9)
        panel.set_ylim(0, 100)
    panels[0].legend(fontsize=7)
    for (name, line), (colour, dashes, order) in zip(lines.items(), LINES, strict=True):
        numbers = range(1, len(line.drift) + 1)
        look: dict[str, Any] = {"color": colour, "linestyle": dashes, "linewidth": 2, "zorder": order}
        panels[-2].plot(numbers, [each["digit"] for each in line.retained], label=name, **look)
        if name == RETRAINED:
            panels[-1].axhline(apart, label="two retrainings, in the end", **look)
        else:
            panels[-1].plot(numbers, line.drift, **look)
    panels[-2].set_title("retained, digit", fontsize=9)
    panels[-1].set_title("drift from retraining", fontsize=9)
    panels[-1].set_ylim(bottom=0)
    for panel in panels[-2:]:
        panel.legend(fontsize=7)
    for panel in panels:
        panel.set_xlabel("requests", fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    pyplot.close(figure)
