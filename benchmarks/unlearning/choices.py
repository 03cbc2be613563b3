"""What tuning chose, by its evidence: how many configurations were tried, and was the best one at an edge?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.unlearning.chosen import Chosen
from benchmarks.unlearning.configurations import Configuration
from benchmarks.unlearning.grid import OURS
from benchmarks.unlearning.markdown import markdown_table
from benchmarks.unlearning.methods_shown import label, title
from worker.engine.contract import Budget
from worker.engine.methods import METHODS


def tried_sentence(chosen: Chosen, shown: Iterable[tuple[str, str]]) -> str:
    """shown: the data sets and methods of the report."""
    pairs = sorted(set(shown))
    published = [pair for pair in pairs if pair[1] != OURS]
    ours = [pair for pair in pairs if pair[1] == OURS]
    never = [f"{title(method)} on {source}" for source, method in pairs if not chosen.tuned(source, method)]
    if len(never) == len(pairs):
        return "No method was tuned: each has its default."
    return (
        f"Every published method had {_counted(chosen, published)} configurations, ours "
        f"{_counted(chosen, ours)}; the choice was made on other seeds by validation figures "
        "(`configurations.json` holds the evidence)."
        + (f" Never tuned, so by default: {', '.join(never)}." if never else "")
    )


def _counted(chosen: Chosen, pairs: Iterable[tuple[str, str]]) -> str:
    """How many were tried: one number, or from the least to the most."""
    counts = sorted({len(chosen.tried(*pair)) for pair in pairs if chosen.tuned(*pair)}) or [1]
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def choices(chosen: Chosen, shown: Iterable[tuple[str, str]]) -> str:
    """Per data set and method; nothing if nothing was tuned."""
    body = []
    for source, method in sorted(set(shown)):
        tried = chosen.tried(source, method)
        if not tried:
            continue
        best = chosen.of(source, method)
        figure = next((one["figure"] for one in tried if Configuration(**one["configuration"]) == best), None)
        figures = [one["figure"] for one in tried if one["figure"] is not None]
        body.append(
            [
                source,
                label(method),
                best.described(),
                "–" if figure is None else f"{figure:.2f}",
                f"{min(figures):.2f} – {max(figures):.2f}" if figures else "–",
                str(len(tried)),
                "; ".join(edges(method, best, [Configuration(**one["configuration"]) for one in tried]))
                or "no",
            ]
        )
    if not body:
        return ""
    titles = [
        "data",
        "method",
        "chosen",
        "its figure",
        "of all tried",
        "tried",
        "at an edge of what was tried",
    ]
    return markdown_table(titles, body)


def edges(method: str, best: Configuration, tried: Sequence[Configuration]) -> list[str]:
    """The numbers that were varied and of which the best configuration has the smallest or largest."""
    if method not in METHODS:
        return []
    found = []
    for path in dict.fromkeys(path for one in tried for path in (*one.fields, *one.budget)):
        values = sorted({value for one in tried if (value := _value(method, one, path)) is not None})
        mine = _value(method, best, path)
        if len(values) > 1 and mine in (values[0], values[-1]):
            end = "smallest" if mine == values[0] else "largest"
            others = ", ".join(f"{value:g}" for value in values)
            found.append(f"{path.split('.')[-1]} {mine:g}, the {end} of {others}")
    return found


def _value(method: str, configuration: Configuration, path: str) -> float | None:
    """None for what is no number."""
    given: Mapping[str, Any] = {**configuration.fields, **configuration.budget}
    value: Any = given.get(path)
    if path not in given:
        value = Budget() if path in vars(Budget()) else METHODS[method]
        for name in path.split("."):
            value = getattr(value, name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
