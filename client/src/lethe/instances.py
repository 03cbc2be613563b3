"""Ids of instances from a file, by its ending. Who is named twice is asked for once.

.csv             a column named id, instance, instance_id (or plural), or a single column without a header
.ndjson, .jsonl  a line each: an id, or an object with one of those members
anything else    a line each; `-` is standard input
"""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lethe.errors import UnreadableInstances

NAMES = ("id", "ids", "instance", "instances", "instance_id", "instance_ids")


def read_instances(file: Path, column: str | None = None) -> list[str]:
    """Each id once, in the file's order. `column`: where they are, when it is not under a usual name."""
    try:
        if str(file) == "-":
            found = list(dict.fromkeys(_lines(sys.stdin)))
        else:
            with file.open(encoding="utf-8-sig", newline="") as text:
                found = list(dict.fromkeys(_reader(file)(text, file, column)))
    except UnicodeDecodeError as error:
        raise UnreadableInstances(f"{file} is not a text file in UTF-8.") from error
    except csv.Error as error:
        raise UnreadableInstances(f"{file} cannot be read as CSV: {error}.") from error
    except OSError as error:
        raise UnreadableInstances(f"{file} cannot be read: {error.strerror}.") from error
    if not found:
        raise UnreadableInstances(f"{file} names no instance.")
    return found


_Reader = Callable[[Iterable[str], Path, str | None], Iterator[str]]


def _reader(file: Path) -> _Reader:
    return {".csv": _csv, ".ndjson": _ndjson, ".jsonl": _ndjson}.get(file.suffix.lower(), _text)


def _text(text: Iterable[str], file: Path, column: str | None) -> Iterator[str]:
    yield from _lines(text)


def _lines(text: Iterable[str]) -> Iterator[str]:
    yield from (stripped for line in text if (stripped := line.strip()))


def _csv(text: Iterable[str], file: Path, column: str | None) -> Iterator[str]:
    rows = csv.reader(text)
    first = next(rows, [])
    at = _column(first, file, column)
    if at is None:
        at = 0
        yield from (first[0].strip(),) if first and first[0].strip() else ()
    for row in rows:
        if not row:
            continue
        if len(row) <= at or not row[at].strip():
            raise UnreadableInstances(f"{file}, line {rows.line_num}: there is no id in column {at + 1}.")
        yield row[at].strip()


def _column(header: list[str], file: Path, column: str | None) -> int | None:
    """None: there is one column, and its first line is an id already."""
    names = [name.strip() for name in header]
    if column is not None:
        if column not in names:
            raise UnreadableInstances(f"{file} has no column {column!r}; it has {', '.join(names)}.")
        return names.index(column)
    known = [at for at, name in enumerate(names) if name.lower() in NAMES]
    if len(known) == 1:
        return known[0]
    if len(names) <= 1:
        return None
    raise UnreadableInstances(
        f"{file} has the columns {', '.join(names)}: say which holds the ids (--column)."
    )


def _ndjson(text: Iterable[str], file: Path, column: str | None) -> Iterator[str]:
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UnreadableInstances(f"{file}, line {number}: this is not JSON.") from error
        if isinstance(value, dict):
            value = next((value[name] for name in ([column] if column else NAMES) if name in value), None)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise UnreadableInstances(f"{file}, line {number}: there is no id.")
        yield str(value)
