"""Rows that survive, keys that know what matters, choices that follow the evidence, honest intervals."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.unlearning.chosen import Chosen, read_chosen
from benchmarks.unlearning.configurations import Configuration, compared_methods
from benchmarks.unlearning.finished_rows import FinishedRows
from benchmarks.unlearning.grid import AXES, OURS, Scale
from benchmarks.unlearning.jobs import Job
from benchmarks.unlearning.problems import ProblemKey
from benchmarks.unlearning.requests import RequestPlan
from benchmarks.unlearning.source_code import _without_docstrings, code_digest, modules_of
from benchmarks.unlearning.sources import DIGITS, RECORDS
from benchmarks.unlearning.statistics_of_rows import paired, spread
from benchmarks.unlearning.tried import CONFIGURATIONS, OF_OURS, PER_METHOD
from benchmarks.unlearning.tuning import DEVELOPMENT_SEEDS, choose
from benchmarks.unlearning.workers import Workers
from worker.engine.contract import Monitor

JOB = Job("base", ProblemKey("digits", 0), RequestPlan("random", "full", 0.05), "fine_tune")


def test_a_line_cut_short_is_passed_over_and_the_next_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    FinishedRows(file).append({"key": "a", "value": 1 / 3})
    file.write_text(file.read_text() + '{"key": "b", "val')
    rows = FinishedRows(file)
    assert "a" in rows
    assert "b" not in rows
    rows.append({"key": "b", "value": 2})
    assert {row["key"] for row in FinishedRows(file)} == {"a", "b"}


@pytest.mark.parametrize(
    "other",
    [
        replace(JOB, method="scrub"),
        replace(JOB, problem=ProblemKey("digits", 1)),
        replace(JOB, request=RequestPlan("random", "turn", 0.05)),
        replace(JOB, configuration=Configuration(rate=4.0)),
        replace(JOB, configuration=Configuration({}, {"visits": 3})),
    ],
)
def test_what_determines_a_row_changes_its_key(other: Job) -> None:
    assert other.key != JOB.key
    assert replace(JOB, axis="steps").key == JOB.key


def test_a_method_is_not_part_of_the_others_rows() -> None:
    assert "worker.engine.interference_aware" in modules_of("worker.engine.interference_aware")
    shared = modules_of("benchmarks.unlearning.execution") | modules_of("worker.engine.baselines.scrub")
    assert "worker.engine.measurement" in shared
    assert not shared & {"worker.engine.interference_aware", "worker.engine.calibration"}


def test_a_method_does_not_change_the_digest_of_training() -> None:
    training = code_digest("worker.engine.training")
    assert training != code_digest("worker.engine.interference_aware")
    with pytest.raises(ModuleNotFoundError):
        code_digest("worker.engine.no_such_module")


def test_comments_and_docstrings_do_not_count() -> None:
    one, other = (
        ast.dump(_without_docstrings(ast.parse(text)))
        for text in ('"""A."""\ndef f():\n    """B."""\n    return 1\n', "def f():  # c\n    return 1\n")
    )
    assert one == other


def test_every_method_has_as_many_configurations_and_all_apply() -> None:
    for name in compared_methods():
        tried = CONFIGURATIONS[name]
        assert len(tried) == OF_OURS if name == OURS else len(tried) >= PER_METHOD, name
        assert tried[0] == Configuration(), name
        default = Configuration().method(name)
        assert len({repr((one.method(name), one.spent())) for one in tried}) == len(tried), name
        for one in tried:
            assert type(one.method(name)) is type(default)


def test_every_axis_has_jobs_with_keys_of_their_own() -> None:
    scale = Scale((DIGITS, RECORDS), (0, 1), Chosen({}))
    for axis, make in AXES.items():
        jobs = make(scale)
        assert jobs
        assert {job.axis for job in jobs} == {axis}
        assert len({repr(job.identity()) for job in jobs}) == len(jobs), axis
        assert not {job.problem.seed for job in jobs} & set(DEVELOPMENT_SEEDS)


def test_the_smallest_figure_is_chosen_and_a_refused_configuration_never(tmp_path: Path) -> None:
    tried = CONFIGURATIONS["fine_tune"][:3]
    jobs = [replace(JOB, configuration=one) for one in tried]
    rows = FinishedRows(tmp_path / "tuning.jsonl")
    rows.append({"key": jobs[0].key, "scores": {"selection": 3.0}})
    rows.append({"key": jobs[1].key, "refused": "loss_not_finite"})
    rows.append({"key": jobs[2].key, "scores": {"selection": 2.0}})
    choose(jobs, rows, tmp_path / "configurations.json", (1000,))
    chosen = read_chosen(tmp_path / "configurations.json")
    assert chosen.of("digits", "fine_tune") == tried[2]
    assert chosen.tuned("digits", "fine_tune")
    assert not chosen.tuned("digits", "scrub")
    evidence = json.loads((tmp_path / "configurations.json").read_text())["methods"]["digits"]["fine_tune"]
    assert [entry["figure"] for entry in evidence["tried"]] == [3.0, None, 2.0]


def test_ours_has_one_configuration_for_all_data_sets(tmp_path: Path) -> None:
    tried = CONFIGURATIONS["interference_aware"][:2]
    jobs = [
        replace(JOB, method="interference_aware", problem=ProblemKey(source, 1000), configuration=one)
        for source in ("digits", "scenes")
        for one in tried
    ]
    rows = FinishedRows(tmp_path / "tuning.jsonl")
    for job, value in zip(jobs, (1.0, 2.0, 5.0, 3.0), strict=True):
        rows.append({"key": job.key, "scores": {"selection": value}})
    file = tmp_path / "configurations.json"
    for one_data_set_after_the_other in (jobs[:2], jobs[2:]):
        choose(one_data_set_after_the_other, rows, file, (1000,))
    chosen = read_chosen(file)
    assert chosen.of("digits", "interference_aware") == chosen.of("scenes", "interference_aware") == tried[1]


def _row(seed: int, fraction: float, value: float) -> dict[str, object]:
    problem = {"source": "digits", "seed": seed}
    return {"problem": problem, "request": {"fraction": fraction}, "scores": {"value": value}}


def test_seeds_are_the_unit_of_spreads_and_pairs() -> None:
    def figure(row: object) -> float:
        return float(row["scores"]["value"])  # type: ignore[index]

    ours = [_row(0, 0.1, 1.0), _row(0, 0.2, 3.0), _row(1, 0.1, 4.0), _row(2, 0.1, 100.0)]
    theirs = [_row(0, 0.1, 2.0), _row(0, 0.2, 6.0), _row(1, 0.1, 7.0)]
    mean = spread(ours[:3], figure)
    assert mean is not None
    assert (mean.mean, mean.seeds) == (3.0, 2)
    pairs = paired(ours, theirs, figure)
    assert pairs is not None
    assert (pairs.difference, pairs.pairs) == (-2.5, 2)
    assert pairs.half_width == pytest.approx(12.706 * 0.5, rel=1e-4)


def _half(number: int, monitor: Monitor) -> float:
    return 1 / number


@pytest.mark.parametrize("processes", [0, 1])
def test_a_failure_does_not_stop_the_others(processes: int) -> None:
    done: list[tuple[int, float]] = []
    workers = Workers(processes, Console(quiet=True))
    assert workers.each("halving", [2, 0, 4], _half, lambda work, result: done.append((work, result)))
    assert sorted(done) == [(2, 0.5), (4, 0.25)]
    assert len(workers.failures) == 1
    assert "ZeroDivisionError" in workers.failures[0]
