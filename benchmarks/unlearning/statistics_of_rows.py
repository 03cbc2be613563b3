"""Means, spreads and paired differences. The seed is the unit: runs of one seed are averaged first."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

# Student's t, 97.5 % quantiles for 1, 2, … degrees of freedom; beyond the table the normal one's.
STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip

Row = Mapping[str, Any]
Figure = Callable[[Row], float | None]


@dataclass(frozen=True)
class Spread:
    """mean ± sd over `seeds` seeds; sd is None for one."""

    mean: float
    sd: float | None
    seeds: int


@dataclass(frozen=True)
class Paired:
    """difference ± half-width of its 95 % interval (Student's t over the pairs); None for fewer than two."""

    difference: float
    half_width: float | None
    pairs: int


def by_seed(rows: Iterable[Row], figure: Figure) -> dict[tuple[str, int], float]:
    """Per (data set, seed) the mean of a figure over its rows; rows without it are left out."""
    found: dict[tuple[str, int], list[float]] = {}
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


def paired(ours: Sequence[Row], theirs: Sequence[Row], figure: Figure) -> Paired | None:
    """ours − theirs on the runs that both finished, averaged per data set and seed, then over those."""
    both = _requests(ours) & _requests(theirs)
    first = by_seed([row for row in ours if _request(row) in both], figure)
    second = by_seed([row for row in theirs if _request(row) in both], figure)
    differences = [first[key] - second[key] for key in first if key in second]
    if not differences:
        return None
    count = len(differences)
    if count < 2:
        return Paired(differences[0], None, count)
    quantile = STUDENT[count - 2] if count - 2 < len(STUDENT) else 1.96
    half = quantile * stdev(differences) / sqrt(count)
    return Paired(fmean(differences), half, count)


def _requests(rows: Sequence[Row]) -> set[str]:
    return {_request(row) for row in rows if "scores" in row}


def _request(row: Row) -> str:
    return repr((sorted(row["problem"].items(), key=str), sorted(row["request"].items(), key=str)))
