"""How a method is called and drawn, the same in every table and plot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.unlearning.configurations import NOTHING
from benchmarks.unlearning.grid import OURS

BLUE, ORANGE, GREEN, PURPLE, BROWN, PINK, OLIVE, CYAN = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#8a8a00", "#17becf",
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """hollow: only the outline of the marker is drawn."""

    colour: str
    marker: str
    hollow: bool = False
    size: float = 7

    def drawn(self) -> dict[str, Any]:
        """As keywords of matplotlib's `plot` and `errorbar`."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "markersize": self.size,
            "markerfacecolor": "white" if self.hollow else self.colour,
            "markeredgecolor": "black" if self.marker == "*" else self.colour,
        }


STYLES: Mapping[str, Style] = {
    OURS: Style("#d62728", "*", size=15),
    NOTHING: Style("#000000", "x"),
    "bad_teacher": Style(BLUE, "o"),
    "fine_tune": Style(ORANGE, "s"),
    "gdr_gma": Style(GREEN, "D"),
    "gradient_ascent": Style(PURPLE, "^"),
    "l1_sparse": Style(BROWN, "v"),
    "munba": Style(PINK, "<"),
    "negative_gradient_plus": Style(OLIVE, ">"),
    "orthograd": Style(CYAN, "p"),
    "pgu": Style(ORANGE, "o", hollow=True),
    "projected_ascent": Style(BLUE, "s", hollow=True),
    "random_label": Style(PURPLE, "D", hollow=True),
    "salun": Style(GREEN, "^", hollow=True),
    "scrub": Style(PINK, "v", hollow=True),
    "sfron": Style(BROWN, "P", hollow=True),
    "ssd": Style(CYAN, "X", hollow=True),
}
"""Red and the star are ours alone, black and the cross are of no unlearning."""


def style(method: str) -> Style:
    """Grey for a method that has none of its own yet."""
    return STYLES.get(method, Style("#7f7f7f", "h"))


def title(method: str) -> str:
    return "no unlearning" if method == NOTHING else method.replace("_", " ")


def label(method: str) -> str:
    """Markdown: ours in bold."""
    return f"**{title(method)}**" if method == OURS else title(method)
