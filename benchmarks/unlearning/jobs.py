"""One run of the benchmark as a value: what it depends on, and the key of its row."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from benchmarks.unlearning.configurations import NOTHING, Configuration, registered
from benchmarks.unlearning.digests import digest_of
from benchmarks.unlearning.problems import ProblemKey
from benchmarks.unlearning.requests import RequestPlan
from benchmarks.unlearning.source_code import code_digest

HARNESS = ("benchmarks.unlearning.execution",)


@dataclass(frozen=True)
class Job:
    """axis: the table that the row is for."""

    axis: str
    problem: ProblemKey
    request: RequestPlan
    method: str
    configuration: Configuration = field(default_factory=Configuration)

    def identity(self) -> dict[str, Any]:
        """What determines the row: not the axis, which is only where it is shown."""
        modules = HARNESS if self.method == NOTHING else (*HARNESS, type(registered(self.method)).__module__)
        return {
            "problem": asdict(self.problem),
            "request": asdict(self.request),
            "method": self.method,
            "configuration": _plain(asdict(self.configuration)),
            "code": code_digest(*modules),
            "torch": torch.__version__,
        }

    @property
    def key(self) -> str:
        return digest_of(self.identity())


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dict(inner) if isinstance(inner, Mapping) else inner for name, inner in value.items()}
