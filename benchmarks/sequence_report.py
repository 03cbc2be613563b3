"""The table and the plot of a line of versions."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any


def table(
    lines: Mapping[str, Any], options: argparse.Namespace, machine: str, apart: float, seconds: float
) -> str:
    """Per line, every fourth version: what became of all that was forgotten, and of the rest."""
    rows = []
    for name, line in lines.items():
        count = len(line.drift)
        for number in sorted({0, *range(3, count, 4), count - 1}):
            levels = [history[number - first] for first, history in enumerate(line.levels[: number + 1])]
            retained = ", ".join(f"{value:.1f}" for value in line.retained[number].values())
            rows.append(
                f"| {name} | {number + 1} | {mean(levels):.1f} | {line.holdout[number]:.1f} |"
                f" {mean(levels) - line.holdout[number]:+.1f} | {max(levels):.0f} | {retained} |"
                f" {line.drift[number]:.1f} |\n"
            )
    told = " ".join(
        f"*{name}*: after {sum(1 for each in line.again if each)} of {len(line.again)} requests something"
        f" had come back beyond the gate; processor seconds per job {mean(line.seconds):.1f}."
        for name, line in lines.items()
        if any(line.seconds)
    )
    return (
        "# A line of versions\n\n"
        f"`python -m benchmarks.sequence --seed {options.seed} --requests {options.requests}`; {machine}; "
        f"{seconds:.0f} processor seconds in all.\n\n"
        f"{options.requests} requests of 20 of the 1,000 training instances, in turn for all tasks and for "
        "the task digit alone, each unlearned from the version before. Levels are points of accuracy on the "
        "task digit (labels carry noise: a network can know some by heart only). *Again beyond b*: what came "
        "back and leads the holdout by more than b points, beyond chance, is unlearned again in the same "
        "job; b is 10 by default. Drift: share of held-out images of which the version says another digit "
        "than a network retrained without all that was forgotten so far; two retrainings from different "
        f"seeds are {apart:.1f} apart.\n\n"
        "| line | version after request | forgotten, mean | held out | lead | highest of one request | "
        "retained: digit, turn, ink | drift |\n|---|---:|---:|---:|---:|---:|---|---:|\n"
        + "".join(rows)
        + f"\n{told}\n\n![Forget levels, retained accuracy and drift](sequence.png)\n"
    )


def plot_sequence(lines: Mapping[str, Any], file: Path) -> None:
    """The level of every request after every later one, per line; then what is retained, and the drift."""
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
    for name, line in lines.items():
        numbers = range(1, len(line.drift) + 1)
        panels[-2].plot(numbers, [each["digit"] for each in line.retained], label=name)
        panels[-1].plot(numbers, line.drift, label=name)
    panels[-2].set_title("retained, digit", fontsize=9)
    panels[-1].set_title("drift from retraining", fontsize=9)
    panels[-2].legend(fontsize=7)
    for panel in panels:
        panel.set_xlabel("requests", fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    pyplot.close(figure)
