"""The comparison as a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from examples.digits.comparison import Comparison

COLOURS = {"old": "#9aa5b1", "new": "#2563eb", "retrained": "#f59e0b"}


def draw(comparisons: dict[str, Comparison], file: Path) -> None:
    """One row of panels per request, one panel per task; bars with 95 % intervals."""
    tasks = list(dict.fromkeys(row.task for comparison in comparisons.values() for row in comparison.rows))
    figure, panels = plt.subplots(
        len(comparisons),
        len(tasks),
        figsize=(4.2 * len(tasks), 3.4 * len(comparisons)),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for line, (title, comparison) in zip(panels, comparisons.items(), strict=True):
        for panel, task in zip(line, tasks, strict=True):
            _draw_task(panel, comparison, task)
            attacks = [attack for attack in comparison.attacks if attack.task == task]
            note = "not named" if not attacks else "membership AUC " + " → ".join(
                f"{found['auc']:.2f}" for found in (attacks[0].old, attacks[0].new)
            ) + f" (retrained {attacks[0].retrained['auc']:.2f})"  # fmt: skip
            panel.set_title(f"{task}: {note}", fontsize=9)
        line[0].set_ylabel(f"{title}\npoints", fontsize=9)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def _draw_task(panel: Axes, comparison: Comparison, task: str) -> None:
    rows = [row for row in comparison.rows if row.task == task]
    width = 0.27
    for offset, network in enumerate(("old", "new", "retrained")):
        found = [getattr(row, network) for row in rows]
        heights = [estimate["value"] for estimate in found]
        errors = [
            [estimate["value"] - estimate["low"] for estimate in found],
            [estimate["high"] - estimate["value"] for estimate in found],
        ]
        places = [place + (offset - 1) * width for place in range(len(rows))]
        label = {"old": "old version", "new": "new version", "retrained": "retrained without them"}[network]
        panel.bar(places, heights, width, yerr=errors, color=COLOURS[network], label=label, capsize=2)
    panel.set_xticks(range(len(rows)), [row.part.replace(", ", ",\n") for row in rows], fontsize=8)
    panel.set_ylim(0, 105)
    panel.spines[["top", "right"]].set_visible(False)
