"""One method by two versions of the code: what a change did to it, on the same requests."""

from collections.abc import Iterable, Mapping

from benchmarks.unlearning.figures import COLUMNS, FLOOR_COLUMNS, shown_difference
from benchmarks.unlearning.markdown import markdown_table
from benchmarks.unlearning.rows_of_axes import asked
from benchmarks.unlearning.statistics_of_rows import Figure, Row, of_method, paired, spread

COMPARED = ("AvgGap", "AUC gap", "forget gap", "un-named gap", "retain gap", "UIS %")


def comparison(before: Iterable[Row], after: Iterable[Row], method: str) -> str:
    """A table per data set; rows are the kinds of request that both versions have finished. Cells: before →
    after (what a further retraining would have): the paired difference, with its 95 % interval.
    """
    old, new = (
        {asked(row): row for row in of_method(rows, method) if "scores" in row} for rows in (before, after)
    )
    both = [key for key in old if key in new]
    first, second = (_by_kind([rows[key] for key in both]) for rows in (old, new))
    parts = []
    for source in dict.fromkeys(source for source, _ in first):
        body = [
            [name, *(_cell(first[source, name], second[source, name], title) for title in COMPARED)]
            for found, name in first
            if found == source
        ]
        parts.append(f"## {source}\n\n" + markdown_table(["requests", *COMPARED], body))
    return "\n".join(parts)


def _by_kind(rows: Iterable[Row]) -> Mapping[tuple[str, str], list[Row]]:
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        kinds.setdefault((row["problem"]["source"], _kind(row["request"])), []).append(row)
    return kinds


def _kind(request: Row) -> str:
    scope = request["scope"] if request["scope"] in ("full", "mixed") else "partial"
    return f"{request['selection']}, {scope}, {100 * request['fraction']:g} %, {request['jobs']} in a row"


def _cell(old: list[Row], new: list[Row], title: str) -> str:
    figure, places = COLUMNS[title]
    difference = paired(new, old, figure)
    if difference is None:
        return "–"
    floor = _mean(old, FLOOR_COLUMNS[title][0], places)
    means = f"{_mean(old, figure, places)} → {_mean(new, figure, places)}"
    return f"{means} ({floor}): {shown_difference(difference, places)}"


def _mean(rows: list[Row], figure: Figure, places: int) -> str:
    found = spread(rows, figure)
    return "–" if found is None else f"{found.mean:.{places}f}"
