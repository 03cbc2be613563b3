"""The table of jobs in a row."""

from typing import Any

import pytest

from benchmarks.unlearning.figures import ONCE_MORE
from benchmarks.unlearning.rebound import curve_of, end_of, rebounds

FLOOR = {"forget_gap": 4.0, "auc_distance": 0.02}


def _sequence(method: str, *, first: float, second: float, retain: float, seed: int = 0) -> dict[str, Any]:
    """Two jobs. first, second: forget gaps of their requests after both."""
    gaps = [(0, 0, 1.0), (1, 0, first), (1, 1, second)]
    return {
        "method": method,
        "problem": {"source": "digits", "seed": seed},
        "request": {"jobs": 2},
        "scores": {"average_gap": 0.0, "retain_gap": retain, "test_gap": 1.0},
        "floor": {"retain_gap": 1.0, "test_gap": 2.0},
        "rebound": [
            {"after": after, "request": request, "forget_gap": gap, "auc_distance": gap / 100, "floor": FLOOR}
            for after, request, gap in gaps
        ],
    }


def test_average_gap_after_the_last_job_is_of_the_requests_of_all_jobs() -> None:
    end = end_of([_sequence("salun", first=2.0, second=10.0, retain=3.0)])
    assert (end.forget, end.retain, end.test) == (6.0, 3.0, 1.0)
    assert end.auc == pytest.approx(0.06)
    assert end.average == pytest.approx(10 / 3)


def test_who_forgets_better_and_wrecks_more_comes_later() -> None:
    rows = [
        _sequence("scrub", first=1.0, second=1.0, retain=20.0),
        _sequence("salun", first=5.0, second=7.0, retain=1.0),
    ]
    told = rebounds(rows).splitlines()[2:]
    assert [line.split(" | ")[1] for line in told] == ["a further retraining, on average", "salun", "scrub"]
    assert told[1] == "| digits | salun | 2.67 | 6.0 | 0.060 | 1.00 | 1.00 | 1.0 / 0.010 | 5.0 / 0.050 |"


def test_a_further_retraining_is_measured_on_the_same_requests() -> None:
    rows = [_sequence("salun", first=2.0, second=10.0, retain=3.0, seed=seed) for seed in (0, 1)]
    end = end_of(rows, retrained=True)
    assert end.forget == pytest.approx(ONCE_MORE * 4.0)
    assert end.retain == pytest.approx(ONCE_MORE * 1.0)
    assert curve_of(rows, retrained=True) == [(ONCE_MORE * 4.0, ONCE_MORE * 0.02)] * 2


def test_rows_measured_before_that_was_noted_are_shown_without_it() -> None:
    row = _sequence("salun", first=2.0, second=10.0, retain=3.0)
    row["rebound"] = [{name: entry[name] for name in entry if name != "floor"} for entry in row["rebound"]]
    assert len(rebounds([row]).splitlines()) == 3
