"""The report shows what today's grid asks for, measures by the right line, admits where ours is behind."""

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, replace
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from benchmarks.unlearning.choices import choices, edges, tried_sentence
from benchmarks.unlearning.chosen import Chosen
from benchmarks.unlearning.configurations import NOTHING, Configuration, compared_methods
from benchmarks.unlearning.figures import AVERAGE_GAP, COLUMNS, DISTANCE, FLOOR_COLUMNS, ONCE_MORE
from benchmarks.unlearning.finished_rows import FinishedRows
from benchmarks.unlearning.grid import AXES, OURS, Scale
from benchmarks.unlearning.jobs import Job
from benchmarks.unlearning.methods_shown import STYLES
from benchmarks.unlearning.problems import ProblemKey
from benchmarks.unlearning.reporting import write_report
from benchmarks.unlearning.requests import RequestPlan
from benchmarks.unlearning.rivals import against_retraining, against_strongest
from benchmarks.unlearning.rows_of_axes import rows_of_axes
from benchmarks.unlearning.sources import DIGITS, RECORDS
from benchmarks.unlearning.statistics_of_rows import holm, summed_up
from benchmarks.unlearning.tables import comparison

SCALE = Scale((DIGITS,), (0, 1), Chosen({}), methods=(OURS, "salun", "scrub"))


def _row(job: Job, **figures: float) -> dict[str, Any]:
    """As `execute` gives it, but for the figures."""
    scores = {"average_gap": 2.0, "auc_distance": 0.03, "uis": 4.0, **figures}
    task = {
        "named": True,
        "before": {"forget": 90.0, "retain": 90.0, "test": 60.0},
        "after": {"forget": 60.0},
        "retrained": {"forget": 60.0},
        "membership_before": 0.8,
    }
    identity = json.loads(json.dumps(job.identity()))
    return {
        "key": job.key,
        "axis": job.axis,
        **identity,
        "scores": {**scores, "tasks": {"digit": task}},
        "floor": {"average_gap": 2.0, "forget_gap": 4.0, "auc_distance": 0.04, "uis": 5.0, "tow": 0.9},
        "cost": {"passes": 10, "processor_seconds": 1.0, "time_share": 0.5, "passes_share": 0.25},
        "rebound": [],
        "environment": {"commit": "abc"},
    }


def _keys(jobs: list[Job]) -> set[str]:
    return {job.key for job in jobs}


def test_an_axis_takes_rows_that_were_run_for_another_one() -> None:
    """Its own are never run again when the base grid has them: they exist under that name only."""
    filed: dict[str, Job] = {}
    for axis in ("base", "fraction", "ablation", "steps", "cost"):
        for job in AXES[axis](SCALE):
            filed.setdefault(job.key, job)
    found = rows_of_axes(map(_row, filed.values()), SCALE.chosen).axes
    for axis in ("base", "fraction", "ablation", "steps", "cost"):
        assert {row["key"] for row in found[axis]} == _keys(AXES[axis](SCALE)), axis
    shares = {row["request"]["fraction"] for row in found["cost"] if row["problem"]["instances"] is None}
    assert shares == {0.01, 0.02, 0.05, 0.1}
    assert {row["configuration"]["rate"] for row in found["steps"]} == {0.25, 1.0, 4.0}


def test_what_the_grid_no_longer_asks_for_is_not_shown() -> None:
    base = AXES["base"](SCALE)
    ours = next(job for job in base if job.method == OURS)
    gone = replace(ours, axis="ablation", configuration=Configuration({"calibration.aim": "holdout"}))
    unchosen = replace(ours, configuration=Configuration({}, {"visits": 26}))
    variant = next(job for job in AXES["ablation"](SCALE) if job.configuration != Configuration())
    found = rows_of_axes(map(_row, [*base, gone, unchosen, variant]), SCALE.chosen).axes
    assert gone.key not in {row["key"] for row in found["ablation"]}
    assert variant.key in {row["key"] for row in found["ablation"]}
    assert {row["key"] for row in found["base"]} == _keys(base)
    assert gone.key in {row["key"] for row in found["aim"]}


def test_where_nothing_was_varied_an_axis_has_no_rows() -> None:
    scale = replace(SCALE, sources=(DIGITS, RECORDS))
    steps = [job for job in AXES["steps"](SCALE) if job.problem.seed == 0]
    jobs = {job.key: job for job in [*AXES["base"](scale), *steps]}
    found = rows_of_axes(map(_row, jobs.values()), Chosen({})).axes
    assert {(row["problem"]["source"], row["problem"]["seed"]) for row in found["steps"]} == {("digits", 0)}
    assert found["cost"] == []


def test_older_code_shows_until_it_is_run_again_and_is_counted() -> None:
    job = AXES["base"](SCALE)[0]
    today, older = _row(job), {**_row(job, average_gap=9.0), "key": "older", "code": "older"}
    oldest = {**older, "key": "oldest"}
    alone, both = (rows_of_axes(rows, SCALE.chosen) for rows in ([oldest, older], [today, older]))
    assert ([row["key"] for row in alone.axes["base"]], alone.older) == (["older"], 1)
    assert ([row["key"] for row in both.axes["base"]], both.older) == ([job.key], 0)


def test_trials_of_the_harness_stay_where_they_were_filed() -> None:
    job = Job("aim", ProblemKey("digits", 7, instances=120, epochs=3), RequestPlan("hard", "full", 0.3), OURS)
    assert [row["key"] for row in rows_of_axes([_row(job)], Chosen({})).axes["aim"]] == [job.key]


def test_a_perfect_unlearner_scores_the_line_on_average() -> None:
    """Three networks of one distribution: the third against the mean of two, by drawing."""
    generator = random.Random(0)
    perfect, apart = [], []
    for _ in range(40_000):
        first, second, third = (generator.gauss(70, 3) for _ in range(3))
        perfect.append(abs(third - (first + second) / 2))
        apart.append(abs(first - second))
    assert fmean(perfect) / fmean(apart) == pytest.approx(ONCE_MORE, rel=0.02)
    assert pytest.approx(sqrt(0.75)) == ONCE_MORE


def test_the_line_shortens_gaps_and_leaves_the_others() -> None:
    row = _row(AXES["base"](SCALE)[0])
    line = {name: figure(row) for name, (figure, _) in FLOOR_COLUMNS.items()}
    assert line["AvgGap"] == pytest.approx(2.0 * sqrt(0.75))
    assert line["AUC gap"] == pytest.approx(0.04 * sqrt(0.75))
    assert line["forget gap"] == pytest.approx(4.0 * sqrt(0.75))
    assert line["UIS %"] == 5.0
    assert FLOOR_COLUMNS.keys() == COLUMNS.keys()
    gaps = (0.04, 0.02, 0.01)
    row["floor"]["tow"] = (1 - gaps[0]) * (1 - gaps[1]) * (1 - gaps[2])
    exact = (1 - ONCE_MORE * gaps[0]) * (1 - ONCE_MORE * gaps[1]) * (1 - ONCE_MORE * gaps[2])
    assert FLOOR_COLUMNS["ToW"][0](row) == pytest.approx(exact, abs=2e-4)


def test_holm_is_what_he_published() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_an_interval_and_its_p_say_the_same() -> None:
    """scipy's own test of 1, 2, 3, 4 against 0: t = 3.873, three degrees of freedom."""
    found = summed_up([1.0, 2.0, 3.0, 4.0])
    assert found is not None
    assert found.p == pytest.approx(0.0305, abs=1e-4)
    assert found.half_width == pytest.approx(3.1824 * sqrt(1.25 / 3), rel=1e-4)
    assert summed_up([1.0, 1.0]).p == 0  # type: ignore[union-attr]
    assert summed_up([2.0]).p is None  # type: ignore[union-attr]
    assert summed_up([]) is None


def _compared(values: Mapping[str, tuple[float, float]], seeds: int = 4) -> list[dict[str, Any]]:
    """Per method AvgGap and AUC gap, with a little noise per seed."""
    scale = replace(SCALE, seeds=tuple(range(seeds)))
    return [
        _row(
            job, average_gap=gap + 0.02 * job.problem.seed, auc_distance=auc + 0.001 * (job.problem.seed % 2)
        )
        for job in AXES["base"](scale)
        if job.method in values
        for gap, auc in [values[job.method]]
    ]


def test_each_figure_has_its_own_strongest_rival() -> None:
    rows = _compared({OURS: (1.0, 0.05), "salun": (2.0, 0.04), "scrub": (3.0, 0.06), NOTHING: (0.5, 0.0)})
    by_gap = against_strongest({"a": rows}, rows, AVERAGE_GAP, 2)
    by_auc = against_strongest({"a": rows}, rows, DISTANCE, 3)
    assert "| a | 4 | salun | 2.03 | 1.03 | -1.00 [" in by_gap
    assert "below the strongest published method in 1 of 1 groups" in by_gap
    assert "Not below" not in by_gap
    assert "| a | 4 | salun |" in by_auc
    assert "**Not below: a.**" in by_auc
    assert "| **not below** |" in by_auc


def test_the_strongest_of_each_group_is_harder_to_beat_than_one_for_all() -> None:
    first = _compared({OURS: (1.0, 0.05), "salun": (2.0, 0.1), "scrub": (8.0, 0.1)})
    second = _compared({OURS: (1.0, 0.05), "salun": (7.0, 0.1), "scrub": (3.0, 0.1)})
    for row in second:
        row["problem"] = {**row["problem"], "width": 2.0}
    told = against_strongest({"a": first, "b": second}, [*first, *second], AVERAGE_GAP, 2)
    assert "| all groups | 4 | the strongest of each group | 2.53 | 1.03 | -1.50 [" in told
    assert "| all of them | 4 | salun | 4.53 | 1.03 | -3.50 [" in told


def test_significance_is_corrected_over_the_groups() -> None:
    """Differences −3, −1, −2, −2: p = .016 alone, .031 as one of two, .063 as one of four."""
    rows = _compared({OURS: (1.0, 0.05), "salun": (3.0, 0.1)})
    lead = {0: 3.0, 1: 1.0, 2: 2.0, 3: 2.0}
    for row in rows:
        row["scores"]["average_gap"] = 1.0 if row["method"] == OURS else 1.0 + lead[row["problem"]["seed"]]
    few, many = (
        against_strongest(dict.fromkeys(names, rows), rows, AVERAGE_GAP, 2) for names in ("ab", "abcd")
    )
    assert "leaves 0 out in 2 of them, and in 2 after" in few
    assert "leaves 0 out in 4 of them, and in 0 after" in many
    assert "below, not significantly" in many


def test_ours_is_told_from_a_further_retraining() -> None:
    rows = _compared({OURS: (2.0, 0.05)})
    told = against_retraining({"a": rows}, rows, AVERAGE_GAP, 2)
    assert "above a further retraining in 1 of 1 groups" in told
    assert f"| a | 4 | {2 * ONCE_MORE:.2f} | 2.03 | +0.30 [" in told


def test_a_method_with_fewer_seeds_says_so() -> None:
    rows = _compared({OURS: (1.0, 0.05), "salun": (2.0, 0.04)})
    rows = [row for row in rows if row["method"] == OURS or row["problem"]["seed"] < 3]
    told = comparison(rows)
    assert "| salun (n = 3) |" in told
    assert "| **interference aware** |" in told


def _tuned(chosen: Mapping[str, Any], *tried: Mapping[str, Any]) -> Chosen:
    evidence = [
        {"configuration": asdict(Configuration(fields)), "figure": float(number), "runs": 4}
        for number, fields in enumerate(tried)
    ]
    return Chosen({"digits": {"salun": {"chosen": asdict(Configuration(chosen)), "tried": evidence}}})


def test_the_report_says_what_was_tried_and_what_lies_at_an_edge() -> None:
    rate = "settings.pace.rate"
    tried = ({}, {rate: 0.1}, {rate: 1.0})
    chosen = _tuned({rate: 1.0}, *tried)
    shown = [("digits", "salun")]
    assert "Every published method had 3 configurations, ours 1;" in tried_sentence(chosen, shown)
    assert "Never tuned, so by default: scrub on digits." in tried_sentence(
        chosen, [*shown, ("digits", "scrub")]
    )
    assert "No method was tuned" in tried_sentence(Chosen({}), shown)
    assert (
        "| digits | salun | rate 1.0 | 2.00 | 0.00 – 2.00 | 3 | rate 1, the largest of 0.1, 0.3, 1 |"
        in choices(chosen, shown)
    )
    assert choices(Chosen({}), shown) == ""
    every = [Configuration(fields) for fields in tried]
    assert edges("salun", Configuration(), every) == []
    visits = [Configuration({}, {"visits": number}) for number in (20, 40)]
    assert edges(OURS, Configuration(), [Configuration(), *visits]) == [
        "visits 60, the largest of 20, 40, 60"
    ]


def test_rows_that_older_code_measured_with_the_same_bits_are_told(tmp_path: Path) -> None:
    rows = FinishedRows(tmp_path / "rows.jsonl")
    for number, job in enumerate(AXES["base"](replace(SCALE, seeds=(0,)))):
        rows.append(_row(job) | ({"measured_with": "0123"} if number < 2 else {}))
    told = write_report(rows, Chosen({}), tmp_path).read_text()
    assert "2 rows were measured by older code with the same bits." in told
    assert "were not run again since" not in told


def test_what_was_varied_is_compared_setting_by_setting(tmp_path: Path) -> None:
    """Nobody has to go through every method's lines to learn where ours is not the best."""
    rows = FinishedRows(tmp_path / "rows.jsonl")
    for job in AXES["fraction"](SCALE):
        behind = (
            job.method == "scrub" and job.request.fraction == 0.1 and job.request.selection == "clustered"
        )
        rows.append(_row(job, average_gap=1.0 if behind else 2.0 if job.method == OURS else 3.0))
    text = write_report(rows, Chosen({}), tmp_path).read_text()
    told = text.split("How much is forgotten: ours against the strongest")[1].split("###")[0]
    assert "in 3 of 4 groups" in told
    assert "**Not below: digits, clustered, 10%.**" in told


def test_data_sets_are_compared_as_a_whole_too(tmp_path: Path) -> None:
    rows = FinishedRows(tmp_path / "rows.jsonl")
    for job in AXES["base"](SCALE):
        behind = job.method == "scrub" and job.request.scope != "full"
        rows.append(_row(job, average_gap=1.0 if behind else 2.0 if job.method == OURS else 3.0))
    text = write_report(rows, Chosen({}), tmp_path).read_text()
    told = text.split("### By AvgGap, per data set")[1].split("###")[0]
    assert "in 1 of 2 groups" in told
    assert "**Not below: digits, partial.**" in told
    assert "## Digits, everything" in text


def test_aimed_at_the_holdout_retraining_is_told_beside(tmp_path: Path) -> None:
    rows = FinishedRows(tmp_path / "rows.jsonl")
    for job in AXES["base"](SCALE):
        rows.append(_row(job, uis=3.0 if job.method == OURS else 4.0))
    for job in AXES["aim"](SCALE):
        rows.append(_row(job, uis=2.0))
    told = write_report(rows, Chosen({}), tmp_path).read_text().split("## Aimed at the holdout")[1]
    assert "| digits, full | salun | 4.0 | 5.0 ± 0.0 (+25%) | 3.0 ± 0.0 (-25%) | 2.0 ± 0.0 (-50%) |" in told


def test_networks_of_several_processors_are_told(tmp_path: Path) -> None:
    rows = FinishedRows(tmp_path / "rows.jsonl")
    for number, job in enumerate(AXES["base"](SCALE)):
        row = _row(job)
        row["scores"]["tasks"]["digit"]["retrained"] = {"forget": 60.0 + (0.5 if number == 0 else 0.0)}
        rows.append(row)
    told = " ".join(write_report(rows, Chosen({}), tmp_path).read_text().split())
    assert "In 1 of 16 requests the rows come from several kinds of processor" in told
    assert "by 0.50 points on average" in told


def test_no_method_looks_like_another_in_plots() -> None:
    assert set(compared_methods()) <= STYLES.keys()
    looks = {(style.colour, style.marker, style.hollow) for style in STYLES.values()}
    assert len(looks) == len(STYLES)
    for alone in (OURS, NOTHING):
        others = [style for name, style in STYLES.items() if name != alone]
        assert STYLES[alone].colour not in {style.colour for style in others}
        assert STYLES[alone].marker not in {style.marker for style in others}
