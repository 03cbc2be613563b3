"""The figures of a row that tables show, by column title."""

from collections.abc import Mapping
from math import sqrt
from typing import Any

from benchmarks.unlearning.problems import REFERENCES
from benchmarks.unlearning.statistics_of_rows import Figure, Paired, Spread

ONCE_MORE = sqrt(REFERENCES**2 - 1) / REFERENCES
"""What a further retraining's gap is on average, in units of the gap on file.

A row's floor is the gap of each of the k = `REFERENCES` retrained networks to the mean of the k − 1 others; a
method's figure is its gap to the mean of all k. Retrained networks are exchangeable: for any metric they have
one variance, and one covariance with each other, whose difference is v. So the variance of a reference minus
the mean of the others is v (1 + 1/(k−1)), that of a further retraining minus the mean of all is v (1 + 1/k),
and the ratio of standard deviations is √((1 + 1/k) / (1 + 1/(k−1))) = √(k² − 1) / k: √.75 = .866 for two.
Mean absolute differences have the same ratio if both differences have distributions of one shape (normal ones
do). Standard errors of the AUC gap are standard deviations, over instances, of the same two differences.
"""


def _score(name: str) -> Figure:
    return lambda row: _number(row["scores"].get(name))


def _cost(name: str) -> Figure:
    return lambda row: _number(row["cost"].get(name))


def _floor(name: str) -> Figure:
    return lambda row: _number(row["floor"].get(name))


def _once_more(name: str) -> Figure:
    """A gap, as a further retraining would have it."""
    found = _floor(name)
    return lambda row: None if (value := found(row)) is None else ONCE_MORE * value


def _tow_once_more(row: Mapping[str, Any]) -> float | None:
    """Π (1 − gap) with all gaps shortened, to the first order in the gaps: 1 − `ONCE_MORE` (1 − Π (1 − gap)).
    What is left out is at most .12 times the sum of products of two gaps, here less than .001."""
    value = _number(row["floor"].get("tow"))
    return None if value is None else 1 - ONCE_MORE * (1 - value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


AVERAGE_GAP, UIS, DISTANCE = _score("average_gap"), _score("uis"), _score("auc_distance")
TIME_SHARE, PASSES_SHARE = _cost("time_share"), _cost("passes_share")

COLUMNS: Mapping[str, tuple[Figure, int]] = {
    "AvgGap": (AVERAGE_GAP, 2),
    "forget gap": (_score("forget_gap"), 2),
    "retain gap": (_score("retain_gap"), 2),
    "un-named gap": (_score("unnamed_gap"), 2),
    "test gap": (_score("test_gap"), 2),
    "UIS %": (UIS, 1),
    "ToW": (_score("tow"), 3),
    "AUC": (_score("auc"), 3),
    "AUC gap": (DISTANCE, 3),
    "SE": (_score("auc_distance_error"), 3),
    "TPR@1 %": (lambda row: _hundredfold(row["scores"].get("tpr_at_1_fpr")), 1),
    "time": (TIME_SHARE, 2),
    "passes": (PASSES_SHARE, 2),
}

FLOOR_OF: Mapping[Figure, Figure] = {
    AVERAGE_GAP: _once_more("average_gap"),
    DISTANCE: _once_more("auc_distance"),
    UIS: _floor("uis"),
}
"""What a further retraining would score, for the figures that methods are compared by. UIS is no gap to
retrained networks: a retrained network's own stays as it is."""

FLOOR_COLUMNS: Mapping[str, tuple[Figure, int]] = {
    "AvgGap": (FLOOR_OF[AVERAGE_GAP], 2),
    "forget gap": (_once_more("forget_gap"), 2),
    "retain gap": (_once_more("retain_gap"), 2),
    "un-named gap": (_once_more("unnamed_gap"), 2),
    "test gap": (_once_more("test_gap"), 2),
    "UIS %": (FLOOR_OF[UIS], 1),
    "ToW": (_tow_once_more, 3),
    "AUC": (_floor("auc"), 3),
    "AUC gap": (FLOOR_OF[DISTANCE], 3),
    "SE": (_once_more("auc_distance_error"), 3),
    "TPR@1 %": (lambda row: _hundredfold(row["floor"].get("tpr_at_1_fpr")), 1),
    "time": (lambda row: 1.0, 2),
    "passes": (lambda row: 1.0, 2),
}


def shown(value: Spread | None, places: int) -> str:
    """mean ± sd."""
    if value is None:
        return "–"
    if value.sd is None:
        return f"{value.mean:.{places}f}"
    return f"{value.mean:.{places}f} ± {value.sd:.{places}f}"


def shown_difference(value: Paired | None, places: int) -> str:
    """difference [interval]."""
    if value is None:
        return "–"
    if value.half_width is None:
        return f"{value.difference:+.{places}f} (one pair)"
    low, high = value.difference - value.half_width, value.difference + value.half_width
    return f"{value.difference:+.{places}f} [{low:+.{places}f}, {high:+.{places}f}]"


def _hundredfold(value: Any) -> float | None:
    return None if value is None else 100 * float(value)
