"""What every method is tried with: the default first, published or our own, then whatever else.

Published methods have at least twice as many configurations as ours. Where the best one on some data set was
the last value of its range, on development seeds, the range was widened by four more.
"""

from collections.abc import Mapping

from benchmarks.unlearning.configurations import Configuration
from benchmarks.unlearning.grid import OURS

PER_METHOD = 8
OF_OURS = 4

RATE, EPOCHS = "settings.pace.rate", "settings.pace.epochs"
BETA, ALPHA, LAMBDA, GAMMA = "settings.beta", "settings.alpha", "settings.lambda_", "settings.gamma"
SCHEDULE = "settings.pace.schedule"
MAX_EPOCHS, SALIENT, SHARE = "settings.max_epochs", "settings.salient", "settings.retained_share"


def _tried(*fields: Mapping[str, object]) -> tuple[Configuration, ...]:
    """The default, and one configuration per mapping."""
    return (Configuration(), *[Configuration(one) for one in fields])


CONFIGURATIONS: dict[str, tuple[Configuration, ...]] = {
    OURS: (
        Configuration(),
        Configuration({}, {"visits": 26}),
        Configuration({}, {"visits": 40}),
        Configuration({"calibration.probe_samples": 3680}),
    ),
    "projected_ascent": _tried(
        {RATE: 0.03}, {RATE: 0.1}, {RATE: 1.0}, {RATE: 3.0},
        {BETA: 0.99}, {RATE: 0.1, BETA: 0.9}, {RATE: 1.0, BETA: 0.99},
        {RATE: 3.0, BETA: 0.99}, {RATE: 1.0, BETA: 0.999}, {RATE: 1.0, EPOCHS: 10},
        {RATE: 1.0, BETA: 0.99, EPOCHS: 10},
    ),
    "fine_tune": _tried(
        {RATE: 0.1}, {RATE: 1.0}, {RATE: 3.0}, {RATE: 1.0, EPOCHS: 5},
        {RATE: 3.0, EPOCHS: 5}, {RATE: 1.0, EPOCHS: 20}, {RATE: 3.0, EPOCHS: 20},
        {RATE: 10.0}, {RATE: 10.0, EPOCHS: 20}, {RATE: 5.0, EPOCHS: 30},
        {RATE: 3.0, EPOCHS: 20, SCHEDULE: "linear"},
    ),
    "l1_sparse": _tried(
        {GAMMA: 1e-4}, {GAMMA: 1e-5}, {GAMMA: 2e-3}, {RATE: 1.0},
        {RATE: 3.0}, {RATE: 1.0, GAMMA: 2e-3}, {RATE: 3.0, GAMMA: 2e-3},
        {RATE: 10.0}, {RATE: 3.0, EPOCHS: 20}, {RATE: 1.0, GAMMA: 5e-3}, {RATE: 1.0, GAMMA: 2e-3, EPOCHS: 20},
    ),
    "gradient_ascent": _tried(
        {RATE: 0.01}, {RATE: 0.03}, {RATE: 0.1}, {RATE: 0.3}, {RATE: 1.0}, {EPOCHS: 2}, {EPOCHS: 10},
    ),
    "negative_gradient_plus": _tried(
        {BETA: 0.99}, {BETA: 0.999}, {RATE: 0.03}, {RATE: 0.1},
        {RATE: 0.1, BETA: 0.9}, {RATE: 0.1, BETA: 0.99}, {RATE: 1.0, BETA: 0.99},
        {RATE: 3.0, BETA: 0.99}, {RATE: 1.0, BETA: 0.999}, {RATE: 0.1, BETA: 0.8},
        {RATE: 1.0, BETA: 0.99, EPOCHS: 10},
    ),
    "munba": _tried(
        {RATE: 0.03}, {RATE: 0.3}, {RATE: 1.0}, {RATE: 3.0},
        {RATE: 0.3, EPOCHS: 20}, {RATE: 1.0, EPOCHS: 5}, {RATE: 1.0, EPOCHS: 20},
        {RATE: 10.0}, {RATE: 3.0, EPOCHS: 5}, {RATE: 3.0, EPOCHS: 20}, {RATE: 1.0, EPOCHS: 30},
    ),
    "gdr_gma": _tried(
        {RATE: 0.03}, {RATE: 0.3}, {RATE: 1.0}, {RATE: 0.03, EPOCHS: 30},
        {RATE: 0.3, EPOCHS: 100}, {RATE: 1.0, EPOCHS: 100}, {RATE: 3.0, EPOCHS: 100},
    ),
    "random_label": _tried(
        {RATE: 0.1}, {RATE: 1.0}, {RATE: 3.0}, {RATE: 0.3, EPOCHS: 5},
        {RATE: 1.0, EPOCHS: 5}, {RATE: 0.1, EPOCHS: 20}, {RATE: 1.0, EPOCHS: 20},
        {RATE: 0.3, EPOCHS: 20}, {RATE: 3.0, EPOCHS: 5}, {RATE: 3.0, EPOCHS: 20}, {RATE: 1.0, EPOCHS: 30},
    ),
    "salun": _tried(
        {RATE: 0.03}, {RATE: 0.1}, {RATE: 1.0}, {RATE: 3.0},
        {SALIENT: 0.25}, {RATE: 1.0, SALIENT: 0.25}, {RATE: 1.0, SALIENT: 0.75},
        {RATE: 0.1, SALIENT: 0.75}, {RATE: 1.0, SALIENT: 0.9}, {RATE: 1.0, SALIENT: 0.75, EPOCHS: 20},
        {RATE: 3.0, SALIENT: 0.75},
    ),
    "bad_teacher": _tried(
        {RATE: 0.3}, {RATE: 0.3, EPOCHS: 3}, {EPOCHS: 3}, {RATE: 0.1, EPOCHS: 10},
        {RATE: 0.3, EPOCHS: 10}, {EPOCHS: 10}, {RATE: 0.3, EPOCHS: 30},
        {RATE: 0.03, EPOCHS: 10}, {RATE: 0.1, EPOCHS: 5}, {RATE: 0.1, EPOCHS: 30}, {RATE: 0.5, EPOCHS: 10},
    ),
    "scrub": _tried(
        {RATE: 0.1}, {MAX_EPOCHS: 4}, {RATE: 0.3, MAX_EPOCHS: 4}, {RATE: 3.0, MAX_EPOCHS: 4},
        {EPOCHS: 10, MAX_EPOCHS: 4}, {EPOCHS: 10, MAX_EPOCHS: 7}, {EPOCHS: 15, MAX_EPOCHS: 12},
        {EPOCHS: 20, MAX_EPOCHS: 12}, {EPOCHS: 25, MAX_EPOCHS: 20}, {EPOCHS: 15, MAX_EPOCHS: 12, RATE: 0.5},
        {EPOCHS: 15, MAX_EPOCHS: 12, RATE: 2.0},
    ),
    "sfron": _tried(
        {RATE: 0.03}, {RATE: 0.1}, {RATE: 1.0}, {ALPHA: 1.0},
        {ALPHA: 5.0}, {RATE: 0.1, ALPHA: 5.0}, {RATE: 0.1, ALPHA: 100.0},
        {RATE: 0.1, ALPHA: 400.0}, {RATE: 0.3, ALPHA: 100.0}, {RATE: 0.1, ALPHA: 100.0, EPOCHS: 10},
        {RATE: 0.1, EPOCHS: 10},
    ),
    "ssd": _tried(
        {ALPHA: 3.0}, {ALPHA: 2.0}, {ALPHA: 1.0}, {ALPHA: 0.5},
        {ALPHA: 10.0, LAMBDA: 0.1}, {ALPHA: 3.0, LAMBDA: 0.1}, {ALPHA: 1.0, LAMBDA: 0.3},
        {ALPHA: 2.0, LAMBDA: 0.3}, {ALPHA: 2.0, LAMBDA: 0.1}, {ALPHA: 1.0, LAMBDA: 0.1},
        {ALPHA: 0.5, LAMBDA: 0.3},
    ),
    "pgu": _tried(
        {RATE: 0.03}, {RATE: 0.3}, {SHARE: 0.8}, {SHARE: 0.6},
        {SHARE: 0.4}, {RATE: 1.0, SHARE: 0.8}, {RATE: 1.0, SHARE: 0.6},
        {RATE: 2.0, SHARE: 0.8}, {RATE: 2.0, SHARE: 0.6}, {RATE: 2.0, SHARE: 0.4}, {RATE: 4.0, SHARE: 0.8},
    ),
    "orthograd": _tried(
        {RATE: 0.03}, {RATE: 0.1}, {RATE: 1.0}, {ALPHA: 0.9},
        {ALPHA: 0.1}, {RATE: 1.0, ALPHA: 0.9}, {RATE: 1.0, ALPHA: 0.1},
    ),
}  # fmt: skip
"""Rates are shares of the recipe's peak rate; for what each field means see the method's own file."""


def configurations_of(method: str) -> tuple[Configuration, ...]:
    """The configurations of a method, or only the default of what cannot be configured."""
    return CONFIGURATIONS.get(method, (Configuration(),))
