"""Finished rows: one JSON object per line, appended whole.

The benchmark itself never rewrites a row. People have: when a change of the code left every bit of the
results as it was, which was checked by running every method by the old code and by the new on the same
problems, the digests and keys of finished rows were brought up to date instead of running them all again. A
row's optional field `measured_with` is then the digest of the code that it was really run with.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class FinishedRows:
    """The rows of one file, by key. A line that a crash cut short is passed over."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._rows: dict[str, dict[str, Any]] = {}
        if file.exists():
            for line in file.read_text().splitlines():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue
                self._rows[row["key"]] = row

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows.values())

    def get(self, key: str) -> dict[str, Any] | None:
        return self._rows.get(key)

    def append(self, row: Mapping[str, Any]) -> None:
        """One write to a file opened for appending: the line is there whole, or not at all."""
        line = json.dumps(rounded(row), sort_keys=True, separators=(",", ":")) + "\n"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        repair = self.file.exists() and self.file.read_bytes()[-1:] not in (b"", b"\n")
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, (("\n" if repair else "") + line).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._rows[str(row["key"])] = json.loads(line)


def rounded(value: Any) -> Any:
    """As rows keep it. Six significant places are more than any figure here has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(inner) for inner in value]
    return value
