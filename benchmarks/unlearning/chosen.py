"""The configuration that each method runs with on each data set, as `tune` chose it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.unlearning.configurations import NOTHING, Configuration


class Chosen:
    """By data set and method; the default where nothing was chosen. `tuned` says which of both it is."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = found

    def of(self, source: str, method: str) -> Configuration:
        entry = self._found.get(source, {}).get(method)
        if method == NOTHING or entry is None:
            return Configuration()
        return Configuration(**entry["chosen"])

    def tuned(self, source: str, method: str) -> bool:
        return method in self._found.get(source, {})

    def tried(self, source: str, method: str) -> Sequence[Mapping[str, Any]]:
        """The evidence: each configuration with its figure (None: not usable); empty if never tuned."""
        found: Sequence[Mapping[str, Any]] = self._found.get(source, {}).get(method, {}).get("tried", ())
        return found


def read_chosen(file: Path) -> Chosen:
    """Nothing chosen if the file is not there."""
    return Chosen(json.loads(file.read_text())["methods"] if file.exists() else {})
