"""The figures of a row that tables show, by column title."""

from collections.abc import Mapping
from typing import Any

from benchmarks.unlearning.statistics_of_rows import Figure, Paired, Spread


def _score(name: str) -> Figure:
    return lambda row: _number(row["scores"].get(name))


def _cost(name: str) -> Figure:
    return lambda row: _number(row["cost"].get(name))


def _floor(name: str) -> Figure:
    return lambda row: _number(row["floor"].get(name))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


AVERAGE_GAP, UIS, DISTANCE = _score("average_gap"), _score("uis"), _score("auc_distance")
TIME_SHARE, PASSES_SHARE = _cost("time_share"), _cost("passes_share")

COLUMNS: Mapping[str, tuple[Figure, int]] = {
    "AvgGap": (AVERAGE_GAP, 2),
    "forget gap": (_score("forget_gap"), 2),
    "retain gap": (_score("retain_gap"), 2),
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

FLOOR: Mapping[str, tuple[Figure, int]] = {
    "AvgGap": (_floor("average_gap"), 2),
    "forget gap": (_floor("forget_gap"), 2),
    "retain gap": (_floor("retain_gap"), 2),
    "test gap": (_floor("test_gap"), 2),
    "UIS %": (_floor("uis"), 1),
    "ToW": (_floor("tow"), 3),
    "AUC": (_floor("auc"), 3),
    "AUC gap": (_floor("auc_distance"), 3),
    "SE": (_floor("auc_distance_error"), 3),
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
