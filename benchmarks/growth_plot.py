"""Growth curves: one panel per axis, on logarithmic scales."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def plot_growth(
    axes: Mapping[str, Sequence[Any]], found: Mapping[Any, Mapping[str, float]], file: Path
) -> None:
    """A job's processor seconds, and its passes beside a retraining's, against the size that changes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, len(axes), figsize=(3.4 * len(axes), 5.6), sharey="row")
    for (above, below), (axis, sizes) in zip(panels.T, axes.items(), strict=True):
        values = [
            found[size]["parameters"]
            if axis == "parameters"
            else getattr(size, "forget" if axis == "forgotten" else axis)
            for size in sizes
        ]
        for name in ("recognise", "open", "unlearn", "evaluate"):
            above.plot(values, [max(1e-4, found[size][name]) for size in sizes], marker="o", label=name)
        below.plot(values, [found[size]["passes"] for size in sizes], marker="o", label="unlearning")
        below.plot(values, [found[size]["retraining"] for size in sizes], marker="o", label="retraining")
        for panel in (above, below):
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_xticks(values, [f"{value:,}" for value in values], fontsize=8)
            panel.set_xticks([], minor=True)
        below.set_xlabel(axis)
    panels[0][0].set_ylabel("processor seconds")
    panels[1][0].set_ylabel("passes")
    for line in panels:
        line[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
