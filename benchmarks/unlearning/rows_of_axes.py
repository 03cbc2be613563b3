"""Which finished rows make which table: those that today's grid asks for, whatever they were run for."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.unlearning.chosen import Chosen
from benchmarks.unlearning.finished_rows import rounded
from benchmarks.unlearning.grid import AXES, Scale
from benchmarks.unlearning.sources import known_sources
from benchmarks.unlearning.statistics_of_rows import Row


@dataclass(frozen=True)
class RowsOfAxes:
    """axes: the rows of each table. older: how many of all these are by other code than today's."""

    axes: Mapping[str, list[Row]]
    older: int

    def shown(self) -> list[Row]:
        """Each row once."""
        return list({str(row["key"]): row for rows in self.axes.values() for row in rows}.values())


def rows_of_axes(rows: Iterable[Row], chosen: Chosen) -> RowsOfAxes:
    """The grid's rows on the data sets and seeds that are on file, with the configurations chosen.

    A row is filed under the axis that it was run for, and one row may belong to several: 5 % of the base grid
    is a step of the growth of the cost too. Of rows that ask for the same thing, today's code's is taken, or
    else the last one. Where an axis has nothing but the base grid's rows, nothing was varied: it leaves that
    data set and seed out. Rows of shorter trainings are trials of the harness, which the grid knows nothing
    of: they stay where they were filed.
    """
    found = list(rows)
    trials = [row for row in found if row["problem"]["epochs"] is not None]
    measured = [row for row in found if row["problem"]["epochs"] is None]
    by_key = {row["key"]: row for row in measured}
    last = {asked(row): row for row in measured}
    axes: dict[str, list[Row]] = {}
    today: set[str] = set()
    for axis, make in AXES.items():
        jobs = {job.key: job for scale in _scales(measured, chosen) for job in make(scale)}
        today |= jobs.keys()
        taken = (by_key.get(key) or last.get(asked(job.identity())) for key, job in jobs.items())
        axes[axis] = list({row["key"]: row for row in taken if row is not None}.values())
    base = {row["key"] for row in axes["base"]}
    for axis in axes.keys() - {"base"}:
        varied = {_unit(row) for row in axes[axis] if row["key"] not in base}
        axes[axis] = [row for row in axes[axis] if _unit(row) in varied]
    shown = {row["key"] for rows in axes.values() for row in rows}
    for axis in axes:
        axes[axis] += {asked(row): row for row in trials if row["axis"] == axis}.values()
    return RowsOfAxes(axes, len(shown - today))


def asked(row: Mapping[str, Any]) -> str:
    """What determines a row, but for code and versions."""
    names = ("problem", "request", "method", "configuration")
    return json.dumps(rounded({name: row[name] for name in names}), sort_keys=True)


def _unit(row: Row) -> tuple[str, int]:
    return row["problem"]["source"], row["problem"]["seed"]


def _scales(rows: Iterable[Row], chosen: Chosen) -> list[Scale]:
    """One per data set, in the order on file."""
    seeds: dict[tuple[str, str | None], set[int]] = {}
    for row in rows:
        problem = row["problem"]
        seeds.setdefault((problem["source"], problem["folder"]), set()).add(problem["seed"])
    found = []
    for (name, folder), mine in seeds.items():
        source = known_sources({name: folder} if folder else {}).get(name)
        if source is not None:
            found.append(Scale((source,), tuple(sorted(mine)), chosen))
    return found
