"""The evaluation: known values of every measure, and the report as it is read by others."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.digits_problem import (
    CPU,
    INSTANCES,
    SPECS,
    digits,
    original,
    request,
    same_bits,
)
from tests.engine.runs import Recorder
from worker.engine.contract import ForgetRequest, ForgetSet, Silent
from worker.engine.evaluation import evaluate, memorisation
from worker.engine.evaluation.intervals import estimate, wilson
from worker.engine.evaluation.membership import area_under_curve, membership, standard_error, true_positives
from worker.engine.evaluation.uis import named_task_uis, unnamed_task_uis


def test_auc_by_known_values() -> None:
    low, high = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0])
    assert area_under_curve(low, high) == 1.0
    assert area_under_curve(high, low) == 0.0
    assert area_under_curve(low, low) == 0.5
    assert area_under_curve(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0])) == 0.75


@given(st.lists(st.integers(0, 5), min_size=1), st.lists(st.integers(0, 5), min_size=1))
def test_auc_equals_a_slow_count_and_mirrors(members: list[int], others: list[int]) -> None:
    one, other = torch.tensor(members).float(), torch.tensor(others).float()
    slow = [1.0 if m < o else 0.5 if m == o else 0.0 for m in members for o in others]
    assert area_under_curve(one, other) == pytest.approx(sum(slow) / len(slow))
    assert area_under_curve(one, other) + area_under_curve(other, one) == pytest.approx(1)


def test_standard_error_of_hanley_and_mcneil() -> None:
    # By hand: Q1 = .6/1.4, Q2 = 2·.36/1.6; (.24 + 99·(Q1 − .36) + 199·(Q2 − .36)) / 20000.
    variance = (0.24 + 99 * (0.6 / 1.4 - 0.36) + 199 * (0.72 / 1.6 - 0.36)) / 20_000
    assert standard_error(0.6, 100, 200) == pytest.approx(variance**0.5)
    assert standard_error(1.0, 10, 10) == 0.0


def test_true_positives_count_both_sides() -> None:
    others = torch.arange(100).float()
    members = torch.cat([torch.full((3,), -1.0), torch.full((5,), 200.0), torch.full((2,), 50.0)])
    assert true_positives(members, others, 0.01) == 0.5
    assert true_positives(-members, -others, 0.01) == 0.5
    found = membership(members, others[:99])
    assert found is not None
    assert found["tpr_at_1_fpr"] is None
    assert membership(members[:0], others) is None


def test_wilson_by_known_values() -> None:
    low, high = wilson(0.5, 100)
    assert (low, high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))
    assert wilson(1.0, 10) == (pytest.approx(0.7225, abs=1e-4), 1.0)
    assert wilson(0.0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_estimates_hold_their_value(scores: list[float]) -> None:
    found = estimate(torch.tensor(scores))
    assert found is not None
    assert 0 <= found["low"] <= found["value"] + 1e-3
    assert found["value"] - 1e-3 <= found["high"] <= 100
    assert found["n"] == len(scores)
    assert estimate(torch.zeros(0)) is None


def test_uis_by_known_values() -> None:
    assert named_task_uis(80, 80, 80) == 0
    assert named_task_uis(80, 72, 88) == pytest.approx(10)
    assert unnamed_task_uis(80, 72, 100, 100) == pytest.approx(5)
    assert named_task_uis(0, 1, 1) is None


def report(*requests: ForgetRequest, excluded: tuple[ForgetRequest, ...] = (), shift: float = 0.5) -> dict:  # type: ignore[type-arg]
    train, _, audit = digits()
    after = copy.deepcopy(original())
    with torch.no_grad():
        after.heads["digit"].bias[0] += shift  # type: ignore[index, union-attr]
    before = original()
    found = evaluate(
        before,
        after,
        tasks=SPECS,
        train=train,
        audit=audit,
        forget=ForgetSet(INSTANCES, len(SPECS), requests, excluded),
        seed=1,
        device=CPU,
        monitor=Silent(),
        retain_sample=50,
    )
    assert same_bits(before, original())
    return found


def test_report_has_the_figures_it_promises() -> None:
    found = report(request(range(60), (0, 2)), request(range(60, 65), (0,), "few"))
    assert json.loads(json.dumps(found)) == found
    assert found["schema"] == 1
    digit, turn = found["tasks"]["digit"], found["tasks"]["turn"]
    assert digit["named"]
    assert digit["forget"]["before"]["n"] == 65
    assert digit["membership"]["before"]["members"] == 65
    assert digit["unnamed_same_instances"] is None
    assert not turn["named"]
    assert turn["forget"] is None
    assert turn["membership"] is None
    assert turn["unnamed_same_instances"]["before"] == turn["unnamed_same_instances"]["after"]
    assert turn["unnamed_same_instances"]["before"]["n"] == 65
    assert turn["uis"] == 0
    assert not any("literature" in task for task in found["tasks"].values()), "no dense task"
    assert found["tasks"]["ink"]["unnamed_same_instances"]["before"]["n"] == 5, "of the second request"
    assert all(task["retain"]["before"]["n"] == 50 for task in found["tasks"].values())
    assert all(task["holdout"]["before"]["n"] == 399 - 1 for task in found["tasks"].values())
    assert [(entry["reference"], entry["task"], entry["measured_on"]) for entry in found["requests"]] == [
        ("first", "digit", "this request"),
        ("first", "ink", "this request"),
        ("few", "digit", "batch of 65"),
    ]
    assert found["requests"][0]["forget"]["before"]["n"] == 60
    assert found["requests"][2]["forget"] is None


def test_report_measures_earlier_forgetting_again() -> None:
    found = report(request([1], (1,)), excluded=(request(range(100, 160), (0,), "earlier"),))
    (earlier,) = found["earlier"]
    assert earlier["reference"] == "earlier"
    assert earlier["forget"]["before"]["n"] == 60


def test_small_earlier_requests_are_looked_at_together() -> None:
    small = (request(range(100, 130), (0,), "a"), request(range(120, 150), (0, 1), "b"))
    reopened = replace(request(range(150, 200), (0,), "c"), remembered=True)
    found = report(request([1], (1,)), excluded=(*small, reopened))["earlier_levels"]
    assert [(level["task"], level["references"], level["instances"]) for level in found] == [
        (SPECS[0].name, ["a", "b"], 50),
        (SPECS[1].name, ["b"], 30),
    ]
    assert all(level["forget"]["after"]["n"] == level["instances"] for level in found)
    assert not any(level["risen"] for level in found)  # the candidate is the base, disturbed


def test_report_of_nothing() -> None:
    found = report()
    assert found["requests"] == []
    assert found["uis"] is None
    assert all(not task["named"] and task["forget"] is None for task in found["tasks"].values())


def test_report_may_be_interrupted_and_tells_its_progress() -> None:
    train, _, audit = digits()
    recorder = Recorder()
    evaluate(
        original(), original(), tasks=SPECS, train=train, audit=audit,
        forget=ForgetSet(INSTANCES, len(SPECS), (request([1], (0,)),)),
        seed=1, device=CPU, monitor=recorder,
    )  # fmt: skip
    assert recorder.calls[-1][0] == recorder.calls[-1][1]


def test_memorisation_sees_that_the_network_knows_its_labels() -> None:
    train, _, audit = digits()
    found = memorisation(
        original(), tasks=SPECS, train=train, holdout=audit, seed=1, device=CPU, monitor=Silent()
    )
    assert set(found) == {"digit", "turn", "ink"}
    for task in found.values():
        assert task["gap"] > 5
        assert task["membership"]["auc"] > 0.55
