"""The report: tables and plots of all finished rows that today's code and choices would give again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.unlearning import tables
from benchmarks.unlearning.chosen import Chosen
from benchmarks.unlearning.finished_rows import FinishedRows
from benchmarks.unlearning.plots import plot_all
from benchmarks.unlearning.statistics_of_rows import Row
from benchmarks.unlearning.tried import OF_OURS, PER_METHOD

HEAD = f"""# Unlearning benchmark

Made by `python -m benchmarks.unlearning run` (docs/benchmark.md says what each figure is).

Metrics and gaps are in points, UIS in percent. Means ± standard deviations are over seeds; the requests of a
seed are averaged first. Every published method had {PER_METHOD} configurations, ours {OF_OURS}; the choice was
made on other seeds by validation figures (`configurations.json` holds the evidence). "time" and "passes" are
shares of what retraining costs. The first line of a comparison is retraining against another retraining: below it no method can be told from
retraining. Methods are in the order of AvgGap, best first. Smaller is better, but for ToW, and for AUC, which
should be near retraining's; "AUC gap" is its distance from that, "SE" that distance's standard error.
"""


def write_report(rows: FinishedRows, chosen: Chosen, folder: Path) -> Path:
    """`report.md` and its plots below `folder`."""
    found = latest(list(rows))
    parts = [HEAD, _environment(found), _base([row for row in found if row["axis"] == "base"])]
    for axis, title, setting_title, setting in SETTINGS:
        mine = [row for row in found if row["axis"] == axis]
        if mine:
            parts.append(f"## {title}\n\n" + tables.by_setting(mine, setting_title, setting))
    aimed = [row for row in found if row["axis"] == "aim"]
    if aimed:
        parts.append(
            "## Aimed at the holdout\n\nWhat UIS alone would ask for, against the published method with the "
            "smallest UIS on the same requests, ours, and a retrained network's own UIS.\n\n"
            + tables.aimed([row for row in found if row["axis"] == "base"], aimed)
        )
    sequences = [row for row in found if row["axis"] == "sequence"]
    if sequences:
        parts.append(
            "## Rebound\n\nForget gap / AUC gap of the first request after each job.\n\n"
            + tables.rebounds(sequences)
        )
    grown = [row for row in found if row["axis"] == "cost"]
    if grown:
        parts.append("## Growth of the cost\n\n" + tables.costs(grown))
    pictures = [f"![{file.stem}]({file.name})" for file in plot_all(found, folder)]
    file = folder / "report.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*parts, *pictures]) + "\n")
    return file


def latest(rows: Sequence[Row]) -> list[Row]:
    """Of rows that ask for the same thing, the last one: older code's rows stay on file but are not shown."""
    found: dict[str, Row] = {}
    for row in rows:
        asked = (row["axis"], row["problem"], row["request"], row["method"], _setting(row))
        found[repr(asked)] = row
    return list(found.values())


def _setting(row: Row) -> Any:
    """The base grid has one configuration per method: a new choice replaces the old one."""
    return row["configuration"] if row["axis"] in ("ablation", "steps") else None


def _steps(row: Row) -> str:
    return f"×{row['configuration']['rate']:g}"


def _request(row: Row) -> str:
    request = row["request"]
    return f"{request['selection']}, {request['scope']}"


def _fraction(row: Row) -> str:
    return f"{row['request']['selection']}, {row['request']['fraction']:.0%}"


SETTINGS: tuple[tuple[str, str, str, Callable[[Row], Any]], ...] = (
    ("fraction", "How much is forgotten", "request", _fraction),
    ("hardness", "Hard and mixed requests", "request", _request),
    ("ablation", "Ablations", "configuration", tables.described),
    ("steps", "Gentle and shocking step sizes", "learning rate", _steps),
)


def _base(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    parts = ["## What there was to forget\n\n" + tables.before(rows)]
    groups = {
        f"{source}, {selection}, {scope}": [
            row
            for row in rows
            if (row["problem"]["source"], row["request"]["selection"], tables.kind(row))
            == (source, selection, scope)
        ]
        for source in dict.fromkeys(row["problem"]["source"] for row in rows)
        for selection in ("random", "clustered", "hard")
        for scope in ("full", "partial", "mixed")
    }
    groups = {name: group for name, group in groups.items() if group}
    everything = {**groups, "all of them": rows}
    parts.append(
        "## Ours against the strongest baseline\n\n"
        "Ours minus theirs, paired by data set and seed, with 95 % intervals (Student's t); the strongest "
        "baseline is the one with the smallest AvgGap on the very same requests, which favours it.\n\n"
        + tables.against_strongest(everything)
    )
    parts += [f"## {name.capitalize()}\n\n" + tables.comparison(group) for name, group in everything.items()]
    return "\n".join(parts)


def _environment(rows: Sequence[Row]) -> str:
    found = {
        repr(sorted(row["environment"].items())): row["environment"] for row in rows if "environment" in row
    }
    lines = ["; ".join(f"{name} {value}" for name, value in one.items()) for one in found.values()]
    seeds = sorted({row["problem"]["seed"] for row in rows})
    return f"{len(rows)} runs; seeds {', '.join(map(str, seeds))}.\n\n" + "\n".join(
        f"- {line}" for line in lines
    )
