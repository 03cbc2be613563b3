"""Before and after, as drawings (SVG) that print well: points with their 95 % intervals on one axis."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor

from markupsafe import Markup, escape

WIDTH, LEFT, RIGHT, ROW, TOP, BOTTOM = 700, 190, 120, 44, 8, 30
BEFORE, AFTER, BAND, INK = "#8b93a1", "#0b5563", "#e3eef0", "#333a44"


@dataclass(frozen=True)
class Point:
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One kind of data; `note` says how much of it there is."""

    label: str
    note: str
    before: Point | None
    after: Point | None


@dataclass(frozen=True)
class Axis:
    low: float
    high: float
    step: float
    decimals: int = 0

    def at(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def ticks(self) -> Iterable[float]:
        count = round((self.high - self.low) / self.step)
        return (self.low + number * self.step for number in range(count + 1))


def points_axis(rows: Sequence[Row]) -> Axis:
    """An axis in points of a metric that shows every interval, with room, and with round numbers."""
    ends = [
        end for row in rows for point in (row.before, row.after) if point for end in (point.low, point.high)
    ]
    low, high = min(ends, default=0.0), max(ends, default=100.0)
    step = 5.0 if high - low <= 25 else 10.0 if high - low <= 60 else 20.0
    bottom, top = floor(low / step) * step, ceil(high / step) * step
    return Axis(bottom, top if top > bottom else bottom + step, step)


def draw(
    title: str, rows: Sequence[Row], axis: Axis, band: Point | None, line: float | None = None
) -> Markup:
    """`band`: what the rows are to be compared with, shaded; `line`: a value, dashed."""
    height = TOP + ROW * len(rows) + BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg"'
        f' font-family="inherit" font-size="12"><title>{escape(title)}</title>'
    ]
    bottom = TOP + ROW * len(rows)
    if band is not None:
        left, right = axis.at(band.low), axis.at(band.high)
        parts.append(
            f'<rect x="{left}" y="{TOP}" width="{max(2.0, right - left):.1f}" height="{bottom - TOP}"'
        )
        parts.append(f' fill="{BAND}"/>')
    parts += [_tick(axis, value, bottom) for value in axis.ticks()]
    if line is not None:
        parts.append(_vertical(axis.at(line), TOP, bottom, INK, dashed=True))
    parts += [_row(row, axis, TOP + ROW * number) for number, row in enumerate(rows)]
    return Markup("".join(parts) + "</svg>")  # noqa: S704 (texts are escaped where they are put in)


def _row(row: Row, axis: Axis, top: float) -> str:
    middle = top + ROW / 2
    parts = [
        f'<text x="0" y="{middle - 2}" fill="{INK}" font-weight="600">{escape(row.label)}</text>',
        f'<text x="0" y="{middle + 13}" fill="{BEFORE}" font-size="11">{escape(row.note)}</text>',
    ]
    parts += [_mark(row.before, axis, middle - 7, BEFORE, hollow=True)] if row.before else []
    parts += [_mark(row.after, axis, middle + 7, AFTER, hollow=False)] if row.after else []
    figures = " → ".join(
        f"{point.value:.{axis.decimals or 1}f}" if point else "–" for point in (row.before, row.after)
    )
    parts.append(
        f'<text x="{WIDTH}" y="{middle + 4}" text-anchor="end" fill="{INK}"'
        f' font-variant-numeric="tabular-nums">{figures}</text>'
    )
    return "".join(parts)


def _mark(point: Point, axis: Axis, y: float, colour: str, *, hollow: bool) -> str:
    fill = "#fff" if hollow else colour
    return (
        f'<line x1="{axis.at(point.low)}" x2="{axis.at(point.high)}" y1="{y}" y2="{y}" stroke="{colour}"'
        f' stroke-width="2"/><circle cx="{axis.at(point.value)}" cy="{y}" r="4.5" fill="{fill}"'
        f' stroke="{colour}" stroke-width="2"/>'
    )


def _tick(axis: Axis, value: float, bottom: float) -> str:
    x = axis.at(value)
    return _vertical(x, TOP, bottom, "#d5d9df") + (
        f'<text x="{x}" y="{bottom + 16}" text-anchor="middle" fill="{BEFORE}" font-size="11">'
        f"{value:.{axis.decimals}f}</text>"
    )


def _vertical(x: float, top: float, bottom: float, colour: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x}" x2="{x}" y1="{top}" y2="{bottom}" stroke="{colour}" stroke-width="1"{dashes}/>'
