"""The report: tables and plots of all finished rows that today's grid and choices would ask for again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.unlearning import tables
from benchmarks.unlearning.choices import choices, tried_sentence
from benchmarks.unlearning.chosen import Chosen
from benchmarks.unlearning.configurations import compared_methods
from benchmarks.unlearning.figures import AVERAGE_GAP, DISTANCE, UIS
from benchmarks.unlearning.finished_rows import FinishedRows
from benchmarks.unlearning.grid import OURS
from benchmarks.unlearning.plots import plot_all
from benchmarks.unlearning.rebound import rebounds
from benchmarks.unlearning.rivals import against_retraining, against_strongest
from benchmarks.unlearning.rows_of_axes import RowsOfAxes, rows_of_axes
from benchmarks.unlearning.statistics_of_rows import Row, request_key

HEAD = """# Unlearning benchmark

Made by `python -m benchmarks.unlearning report` (docs/benchmark.md says what each figure is).

Metrics and gaps are in points, UIS in percent. Means ± standard deviations are over data sets and seeds; the
requests of a seed are averaged first. n is the number of data sets and seeds, told for a method where it has
fewer than its table. "time" and "passes" are shares of what retraining costs.

{tried}

The first line of a comparison is what *a further retraining* would score on average. Methods are measured by
their gap to the mean of two retrained networks. A third network's has the variance of 1 + ½ networks, the gap
between the two that of 1 + 1: so the line is the gap between the two times √(1.5 / 2) = .866. This holds for
all gaps, the AUC gap's standard error, and ToW (to the first order). UIS, AUC and TPR@1 % are no gaps to
retrained networks, and are those networks' own. A method above the line is on average farther from retraining
than retraining itself. It is a mean and no bound: single retrainings lie on both sides of it.

Methods are in the order of AvgGap, best first. Smaller is better, but for ToW, and for AUC, which should be
near retraining's; "AUC gap" is its distance from that, "SE" that distance's standard error.
"""

GAPS = (("AvgGap", AVERAGE_GAP, 2), ("AUC gap", DISTANCE, 3))
MEASURES = (*GAPS, ("UIS %", UIS, 1))


def write_report(rows: FinishedRows, chosen: Chosen, folder: Path) -> Path:
    """`report.md` and its plots below `folder`."""
    found = rows_of_axes(rows, chosen)
    shown, axes = found.shown(), found.axes
    methods = {(str(row["problem"]["source"]), str(row["method"])) for row in shown}
    tuned = {(source, method) for source, method in methods if method in compared_methods()}
    parts = [HEAD.format(tried=tried_sentence(chosen, tuned)), _provenance(found), _base(axes["base"])]
    for axis, title, setting_title, setting in SETTINGS:
        if axes[axis]:
            varied = axes[axis]
            parts.append(f"## {title}\n\n{_covered(varied)}\n")
            for name, figure, places in GAPS:
                if table := against_strongest(_settings(varied, setting), varied, figure, places):
                    parts.append(f"### {title}: ours against the strongest, by {name}\n\n{table}")
            parts.append(f"### {title}: all\n\n" + tables.by_setting(varied, setting_title, setting))
    if axes["aim"]:
        parts.append(
            "## Aimed at the holdout\n\nWhat UIS alone would ask for, against the published method with the "
            "smallest UIS on the same requests, ours, and a retrained network's own UIS.\n\n"
            + tables.aimed(axes["base"], axes["aim"])
        )
    if controls := axes["controls"]:
        same = {request_key(row) for row in controls}
        ours = [row for row in axes["base"] if row["method"] == OURS and request_key(row) in same]
        parts.append(
            "## As many passes spent on training anew\n\nControls of equal compute, beside ours on the same "
            f"requests. {_covered(controls)}\n\n" + tables.comparison([*ours, *controls])
        )
    if amount := axes["amount"]:
        parts.append(
            "## Fifty of ten thousand\n\nAs many forgotten as in the base grid, of ten times the records. "
            f"{_covered(amount)}\n\n" + tables.comparison(amount)
        )
    if axes["sequence"]:
        parts.append(
            "## Rebound\n\nJobs in a row. AvgGap, forget gap and AUC gap after the last one are means over "
            "the requests of all jobs; then the first request's forget gap / AUC gap after each job. "
            f"{_covered(axes['sequence'])}\n\n" + rebounds(axes["sequence"])
        )
    if axes["cost"]:
        parts.append(
            f"## Growth of the cost\n\n{_covered(axes['cost'])} Processor seconds of one run each, not all "
            "made at the same time on a shared machine; passes do not depend on that.\n\n"
            + tables.costs(axes["cost"])
        )
    if table := choices(chosen, tuned):
        parts.append(
            "## What was chosen\n\nOf the configurations tried, the one with the smallest figure, ½ (AvgGap "
            "+ 100 · AUC gap) on the development seeds: per data set for published methods, by the mean over "
            "all data sets for ours. At an edge, what was not tried might be better still; of two values, "
            "each is one.\n\n" + table
        )
    pictures = [f"![{file.stem}]({file.name})" for file in plot_all(axes["base"], axes["sequence"], folder)]
    file = folder / "report.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*parts, *pictures]) + "\n")
    return file


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
    groups = _groups(rows)
    parts.append(
        "## Ours against the strongest published method\n\n"
        "Ours minus theirs, paired by data set and seed (n pairs), with 95 % intervals and two-sided p "
        "(Student's t); bold p are below .05. Each figure has its own rivals: the strongest is the method "
        "with the smallest mean of that figure on the very requests that it is compared on, which favours "
        "it. Holm's correction is over the groups of one table; the two lines below them are outside of it. "
        "*All groups* pairs ours with each group's own strongest method and averages the groups per data set "
        "and seed; *all of them* is against one method for everything, a weaker rival.\n"
    )
    for title, figure, places in MEASURES:
        parts.append(f"### By {title}\n\n" + against_strongest(groups, rows, figure, places))
    parts.append(
        "## Ours against a further retraining\n\n"
        "Ours minus what a further retraining would score on average, paired in the same way.\n"
    )
    for title, figure, places in GAPS:
        parts.append(
            f"### By {title}, beside retraining\n\n" + against_retraining(groups, rows, figure, places)
        )
    scopes, sources = _settings(rows, tables.kind), _settings(rows, lambda row: "everything")
    parts.append("## Per data set\n\nThe same comparisons, random and clustered requests together.\n")
    for title, figure, places in MEASURES:
        parts.append(f"### By {title}, per data set\n\n" + against_strongest(scopes, rows, figure, places))
    for title, figure, places in GAPS:
        parts.append(
            f"### By {title}, beside retraining, per data set\n\n"
            + against_retraining(scopes, rows, figure, places)
        )
    parts += [
        f"## {name.capitalize()}\n\n" + tables.comparison(group)
        for name, group in {**groups, **sources, "all of them": rows}.items()
    ]
    return "\n".join(parts)


def _groups(rows: Sequence[Row]) -> Mapping[str, Sequence[Row]]:
    """By data set, selection, and full, partial or mixed."""
    found = {
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
    return {name: group for name, group in found.items() if group}


def _settings(rows: Sequence[Row], setting: Callable[[Row], Any]) -> Mapping[str, Sequence[Row]]:
    """By data set and setting."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row['problem']['source']}, {setting(row)}", []).append(row)
    return found


def _covered(rows: Sequence[Row]) -> str:
    """Which data sets and seeds."""
    seeds: dict[str, set[int]] = {}
    for row in rows:
        seeds.setdefault(row["problem"]["source"], set()).add(row["problem"]["seed"])
    told = [f"{source} (seed {', '.join(map(str, sorted(mine)))})" for source, mine in seeds.items()]
    return f"Data: {'; '.join(told)}."


def _provenance(found: RowsOfAxes) -> str:
    """How many rows, of which code, from which machines."""
    rows = found.shown()
    environments = {
        repr(sorted(row["environment"].items())): row["environment"] for row in rows if "environment" in row
    }
    seeds = sorted({row["problem"]["seed"] for row in rows})
    same = sum(row.get("measured_with", row["code"]) != row["code"] for row in rows)
    lines = [f"{len(rows)} runs; seeds {', '.join(map(str, seeds))}."]
    if same:
        lines.append(f"{same} rows were measured by older code with the same bits.")
    if found.older:
        lines.append(f"{found.older} rows are by other code than today's and were not run again since.")
    if apart := _apart(rows):
        lines.append(apart)
    machines = ["; ".join(f"{name} {value}" for name, value in one.items()) for one in environments.values()]
    return " ".join(lines) + "\n\n" + "".join(f"- {machine}\n" for machine in machines)


def _apart(rows: Sequence[Row]) -> str:
    """How far a request's retrained networks are from one another, where its rows are of two processors."""
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        if "scores" in row:
            tasks = [task["retrained"] for _, task in sorted(row["scores"]["tasks"].items())]
            figures = [value for one in tasks for _, value in sorted(one.items())]
            found.setdefault(request_key(row), []).append(figures)
    ranges = [[max(same) - min(same) for same in zip(*rows, strict=True)] for rows in found.values()]
    apart = [one for one in ranges if any(one)]
    if not apart:
        return ""
    mean = fmean(value for one in apart for value in one)
    return (
        f"In {len(apart)} of {len(ranges)} requests the rows come from several kinds of processor, each with "
        f"networks trained there, which rounding drives apart: the retrained metrics by {mean:.2f} points on "
        "average."
    )
