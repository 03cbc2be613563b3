"""Ours beside the strongest published method, and beside retraining: paired differences in tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.unlearning.configurations import NOTHING
from benchmarks.unlearning.figures import FLOOR_OF, TIME_SHARE, shown_difference
from benchmarks.unlearning.grid import OURS
from benchmarks.unlearning.markdown import markdown_table
from benchmarks.unlearning.methods_shown import title
from benchmarks.unlearning.statistics_of_rows import (
    Figure,
    Paired,
    Row,
    Unit,
    by_seed,
    holm,
    of_method,
    pairs,
    summed_up,
)  # fmt: skip

LEVEL = 0.05
EACH = "the strongest of each group"


@dataclass(frozen=True)
class Beside:
    """One line: ours and theirs per data set and seed. rival: a method, or what is shown for one."""

    requests: str
    rival: str
    values: Mapping[Unit, tuple[float, float]]

    def difference(self) -> Paired:
        found = summed_up([ours - theirs for ours, theirs in self.values.values()])
        assert found is not None  # `beside_strongest` and `against_retraining` make no line without pairs
        return found

    def means(self) -> tuple[float, float]:
        """Ours, theirs."""
        return fmean(ours for ours, _ in self.values.values()), fmean(
            their for _, their in self.values.values()
        )


def against_strongest(
    groups: Mapping[str, Sequence[Row]], everything: Sequence[Row], figure: Figure, places: int
) -> str:
    """Per group, against the published method that is the strongest there by this figure; then all groups
    against each one's strongest, and all rows against a single method. With a sentence that counts."""
    lines = [line for name, rows in groups.items() if (line := beside_strongest(name, rows, figure))]
    if not lines:
        return ""
    pooled = [_each(lines), *([one] if (one := beside_strongest("all of them", everything, figure)) else [])]
    corrected = _corrected(lines)
    body = []
    for number, line in enumerate([*lines, *pooled]):
        p = corrected[number] if number < len(lines) else line.difference().p
        rows = groups.get(line.requests, everything)
        times = _times(rows, line.rival) if line.rival != EACH else "–"
        body.append([*_cells(line, places, corrected, number), _verdict(line, p), times])
    below = sum(line.difference().difference < 0 for line in lines)
    alone = sum(_is_below(line, line.difference().p) for line in lines)
    kept = sum(_is_below(line, p) for line, p in zip(lines, corrected, strict=True))
    not_below = [line.requests for line in lines if line.difference().difference >= 0]
    told = (
        f"Ours is below the strongest published method in {below} of {len(lines)} groups; the "
        f"interval leaves 0 out in {alone} of them, and in {kept} after Holm's correction."
        + (f" **Not below: {'; '.join(not_below)}.**" if not_below else "")
    )
    titles = [
        "requests",
        "n",
        "strongest",
        "theirs",
        "ours",
        "ours − theirs",
        "p",
        "p, Holm",
        "ours is",
        "time, ours − theirs",
    ]
    return f"{told}\n\n" + markdown_table(titles, body)


def beside_strongest(requests: str, rows: Sequence[Row], figure: Figure) -> Beside | None:
    """The published method with the smallest figure on the runs that it and ours both finished: strictly, the
    one that ours has the least lead over."""
    ours = of_method(rows, OURS)
    rivals = dict.fromkeys(str(row["method"]) for row in rows if row["method"] not in (OURS, NOTHING))
    lines = [Beside(requests, rival, pairs(ours, of_method(rows, rival), figure)) for rival in rivals]
    usable = [line for line in lines if line.values]
    return max(usable, key=lambda line: line.difference().difference, default=None)


def against_retraining(
    groups: Mapping[str, Sequence[Row]], everything: Sequence[Row], figure: Figure, places: int
) -> str:
    """Ours minus what a further retraining would score on average (`ONCE_MORE`), on the same requests."""
    lines = []
    for name, rows in [*groups.items(), ("all of them", everything)]:
        mine = of_method(rows, OURS)
        ours, again = by_seed(mine, figure), by_seed(mine, FLOOR_OF[figure])
        values = {unit: (ours[unit], again[unit]) for unit in ours if unit in again}
        if values:
            lines.append(Beside(name, "", values))
    if not lines:
        return ""
    family = [line for line in lines if line.requests in groups]
    corrected = _corrected(family)
    body = []
    for number, line in enumerate(lines):
        requests, count, _, *cells = _cells(line, places, corrected, number)
        body.append([requests, count, *cells])
    above = [line for line in family if line.difference().difference > 0]
    alone = sum(_is_apart(line.difference().p) for line in above)
    kept = sum(
        _is_apart(p) for line, p in zip(family, corrected, strict=True) if line.difference().difference > 0
    )
    told = (
        f"Ours is above a further retraining in {len(above)} of {len(family)} groups; the "
        f"interval leaves 0 out in {alone} of them, and in {kept} after Holm's correction."
    )
    titles = ["requests", "n", "a further retraining", "ours", "ours − it", "p", "p, Holm"]
    return f"{told}\n\n" + markdown_table(titles, body)


def _each(lines: Sequence[Beside]) -> Beside:
    """Over all groups: per data set and seed the means over its groups, each against its own strongest."""
    found: dict[Unit, list[tuple[float, float]]] = {}
    for line in lines:
        for unit, values in line.values.items():
            found.setdefault(unit, []).append(values)
    means = {
        unit: (fmean(ours for ours, _ in values), fmean(theirs for _, theirs in values))
        for unit, values in found.items()
    }
    return Beside("all groups", EACH, means)


def _corrected(lines: Sequence[Beside]) -> list[float]:
    """A single pair tells nothing: p = 1."""
    return holm([1.0 if (p := line.difference().p) is None else p for line in lines])


def _cells(line: Beside, places: int, corrected: Sequence[float], number: int) -> list[str]:
    found, (ours, theirs) = line.difference(), line.means()
    family = _probability(corrected[number]) if number < len(corrected) else "–"
    return [
        line.requests,
        str(found.pairs),
        title(line.rival),
        f"{theirs:.{places}f}",
        f"{ours:.{places}f}",
        shown_difference(found, places),
        _probability(found.p),
        family,
    ]


def _times(rows: Sequence[Row], rival: str) -> str:
    found = summed_up(
        [a - b for a, b in pairs(of_method(rows, OURS), of_method(rows, rival), TIME_SHARE).values()]
    )
    return shown_difference(found, 2)


def _verdict(line: Beside, p: float | None) -> str:
    if line.difference().difference >= 0:
        return "**not below**"
    return "below" if _is_apart(p) else "below, not significantly"


def _is_below(line: Beside, p: float | None) -> bool:
    return line.difference().difference < 0 and _is_apart(p)


def _is_apart(p: float | None) -> bool:
    return p is not None and p < LEVEL


def _probability(p: float | None) -> str:
    """Bold below `LEVEL`."""
    if p is None:
        return "–"
    text = "<.001" if p < 0.001 else f"{p:.3f}".replace("0.", ".", 1)
    return f"**{text}**" if p < LEVEL else text
