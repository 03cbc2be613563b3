"""Means, spreads and paired differences. The seed is the unit: runs of one seed are averaged first."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t as student

Row = Mapping[str, Any]
Figure = Callable[[Row], float | None]
Unit = tuple[str, int]
"""A data set and a seed."""


@dataclass(frozen=True)
class Spread:
    """mean ± sd over `seeds` seeds; sd is None for one."""

    mean: float
    sd: float | None
    seeds: int


@dataclass(frozen=True)
class Paired:
    """difference ± half-width of its 95 % interval, p: two-sided, of no difference (both Student's t over the
    pairs; None for fewer than two)."""

    difference: float
    half_width: float | None
    p: float | None
    pairs: int


def of_method(rows: Iterable[Row], method: str) -> list[Row]:
    return [row for row in rows if row["method"] == method]


def by_seed(rows: Iterable[Row], figure: Figure) -> dict[Unit, float]:
    """Per (data set, seed) the mean of a figure over its rows; rows without it are left out."""
    found: dict[Unit, list[float]] = {}
    for row in rows:
        value = figure(row) if "scores" in row else None
        if value is not None and value == value:
            key = (str(row["problem"]["source"]), int(row["problem"]["seed"]))
            found.setdefault(key, []).append(value)
    return {key: fmean(values) for key, values in found.items()}


def spread(rows: Iterable[Row], figure: Figure) -> Spread | None:
    """None if no row has the figure."""
    values = list(by_seed(rows, figure).values())
    if not values:
        return None
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def pairs(ours: Sequence[Row], theirs: Sequence[Row], figure: Figure) -> dict[Unit, tuple[float, float]]:
    """Ours and theirs on the runs that both finished, averaged per data set and seed."""
    both = _requests(ours) & _requests(theirs)
    first = by_seed([row for row in ours if request_key(row) in both], figure)
    second = by_seed([row for row in theirs if request_key(row) in both], figure)
    return {unit: (first[unit], second[unit]) for unit in first if unit in second}


def paired(ours: Sequence[Row], theirs: Sequence[Row], figure: Figure) -> Paired | None:
    """ours − theirs over the data sets and seeds of `pairs`; None if there are none."""
    return summed_up([left - right for left, right in pairs(ours, theirs, figure).values()])


def summed_up(differences: Sequence[float]) -> Paired | None:
    """Their mean with its interval and p; None if there are none."""
    count = len(differences)
    if count < 2:
        return Paired(differences[0], None, None, count) if differences else None
    mean, error = fmean(differences), stdev(differences) / sqrt(count)
    half = float(student.ppf(0.975, count - 1)) * error
    if error == 0:
        return Paired(mean, half, float(mean == 0), count)
    return Paired(mean, half, float(2 * student.sf(abs(mean) / error, count - 1)), count)


def holm(values: Sequence[float]) -> list[float]:
    """p-values of one family of tests, corrected so that the chance of any false rejection keeps its level
    (Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 1979)."""
    corrected = [1.0] * len(values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        least = max(least, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = least
    return corrected


def request_key(row: Row) -> str:
    """The same for every method and configuration that answers one request."""
    return repr((sorted(row["problem"].items(), key=str), sorted(row["request"].items(), key=str)))


def _requests(rows: Sequence[Row]) -> set[str]:
    return {request_key(row) for row in rows if "scores" in row}
