"""A configuration of a method: fields by their path, such as "settings.pace.rate"."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from benchmarks.unlearning.controls import CONTROLS
from worker.engine.contract import Budget, Method
from worker.engine.methods import METHODS

NOTHING = "none"
EXACT = "retrain"


@dataclass(frozen=True)
class Configuration:
    """fields: of the method, by path. budget: fields of `Budget`. rate: factor on the recipe's learning rate
    that the method is told (1, but on the axis of step sizes)."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 1.0

    def method(self, name: str) -> Method:
        """The registered method with these fields."""
        method: Any = registered(name)
        for path, value in self.fields.items():
            method = _replaced(method, path.split("."), value)
        return cast(Method, method)

    def spent(self) -> Budget:
        return Budget(**self.budget)

    def described(self) -> str:
        parts = [f"{path.split('.')[-1]} {value}" for path, value in {**self.fields, **self.budget}.items()]
        if self.rate != 1.0:
            parts.append(f"rate ×{self.rate:g}")
        return ", ".join(parts) or "default"


def registered(name: str) -> Method:
    """A method of the service's, or a control of the benchmark's."""
    return METHODS[name] if name in METHODS else CONTROLS[name]


def _replaced(thing: Any, path: list[str], value: Any) -> Any:
    if len(path) > 1:
        value = _replaced(getattr(thing, path[0]), path[1:], value)
    return replace(thing, **{path[0]: value})


def compared_methods() -> tuple[str, ...]:
    """All registered methods but exact retraining, which is every row's yardstick."""
    return tuple(name for name in METHODS if name != EXACT)
