"""What every method is tried with: the same number of configurations each, the first one its published or
own default. A configuration names fields of the method by their path, such as "settings.pace.rate"."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from worker.engine.contract import Budget, Method
from worker.engine.methods import METHODS

PER_METHOD = 4
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
        method: Any = METHODS[name]
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


def _replaced(thing: Any, path: list[str], value: Any) -> Any:
    if len(path) > 1:
        value = _replaced(getattr(thing, path[0]), path[1:], value)
    return replace(thing, **{path[0]: value})


RATE, EPOCHS = "settings.pace.rate", "settings.pace.epochs"


def _tried(*fields: Mapping[str, Any]) -> tuple[Configuration, ...]:
    """The default, and one configuration per mapping."""
    return (Configuration(), *[Configuration(one) for one in fields])


CONFIGURATIONS: dict[str, tuple[Configuration, ...]] = {
    "interference_aware": (
        Configuration(),
        Configuration({}, {"visits": 26}),
        Configuration({}, {"visits": 40}),
        Configuration({"calibration.probe_samples": 3680}),
    ),
    "projected_ascent": _tried({RATE: 0.1}, {RATE: 1.0}, {"settings.beta": 0.99}),
    "fine_tune": _tried({RATE: 0.1}, {RATE: 1.0}, {RATE: 1.0, EPOCHS: 5}),
    "gradient_ascent": _tried({RATE: 0.01}, {RATE: 0.03}, {RATE: 0.3}),
    "negative_gradient_plus": _tried({"settings.beta": 0.99}, {"settings.beta": 0.999}, {RATE: 0.1}),
    "munba": _tried({RATE: 0.03}, {RATE: 0.3}, {RATE: 0.3, EPOCHS: 10}),
    "gdr_gma": _tried({RATE: 0.3}, {RATE: 0.03, EPOCHS: 30}, {RATE: 1.0, EPOCHS: 100}),
    "random_label": _tried({RATE: 0.1}, {RATE: 1.0}, {RATE: 1.0, EPOCHS: 5}),
    "salun": _tried({RATE: 0.1}, {RATE: 1.0}, {"settings.salient": 0.25}),
    "bad_teacher": _tried({RATE: 0.3}, {RATE: 0.3, EPOCHS: 3}, {RATE: 1.0, EPOCHS: 3}),
    "scrub": _tried({RATE: 0.1}, {RATE: 1.0}, {"settings.max_epochs": 4}),
    "sfron": _tried({RATE: 0.1}, {RATE: 1.0}, {"settings.alpha": 5.0}),
    "ssd": _tried({"settings.alpha": 3.0}, {"settings.alpha": 30.0}, {"settings.alpha": 100.0}),
    "pgu": _tried({RATE: 0.03}, {RATE: 0.3}, {"settings.retained_share": 0.8}),
    "orthograd": _tried({RATE: 0.03}, {RATE: 0.3}, {"settings.alpha": 0.9}),
    "l1_sparse": _tried({"settings.gamma": 1e-4}, {"settings.gamma": 1e-5}, {RATE: 1.0}),
}
"""Rates are shares of the recipe's peak rate; for what each field means see the method's own file."""


def compared_methods() -> tuple[str, ...]:
    """All registered methods but exact retraining, which is every row's yardstick."""
    return tuple(name for name in METHODS if name != EXACT)


def configurations_of(method: str) -> tuple[Configuration, ...]:
    """`PER_METHOD` configurations, or only the default of what cannot be configured."""
    return CONFIGURATIONS.get(method, (Configuration(),))
