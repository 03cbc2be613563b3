"""Deletion requests: the sizes and the instances that they say."""

import pytest
import torch

from benchmarks.unlearning.looks import parts_of
from benchmarks.unlearning.problems import Prepared, ProblemKey, prepare
from benchmarks.unlearning.requests import RequestPlan, forget_sets


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(ProblemKey("digits", 7, instances=120, epochs=1), tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("selection", ["random", "clustered", "hard"])
def test_the_scope_does_not_change_the_instances(problem: Prepared, selection: str) -> None:
    plans = [RequestPlan(selection, scope, 0.1) for scope in ("full", "turn", "mixed")]  # type: ignore[arg-type]
    masks = [forget_sets(plan, problem)[0].mask() for plan in plans]
    rows = [mask.any(dim=1) for mask in masks]
    assert int(rows[0].sum()) == 12
    assert all(torch.equal(rows[0], other) for other in rows)
    assert bool(masks[0][rows[0]].all())
    assert masks[1].sum(dim=0).tolist() == [0, 12, 0]
    assert masks[2].sum(dim=0).tolist() == [6, 6, 6]


def test_jobs_of_a_sequence_are_disjoint_and_exclude_the_earlier_ones(problem: Prepared) -> None:
    sets = forget_sets(RequestPlan("clustered", "full", 0.1, jobs=3), problem)
    rows = torch.cat([one.requests[0].rows for one in sets])
    assert len(rows.unique()) == 36
    assert [len(one.excluded) for one in sets] == [0, 1, 2]
    assert int(sets[2].retained(problem.train.present).any(dim=1).sum()) == 120 - 36


def test_a_cluster_is_nearer_together_than_a_random_set(problem: Prepared) -> None:
    def width(selection: str) -> float:
        rows = forget_sets(RequestPlan(selection, "full", 0.1), problem)[0].requests[0].rows  # type: ignore[arg-type]
        inputs = problem.train.fetch(rows).inputs.flatten(1)
        return float(torch.cdist(inputs, inputs).mean())

    assert width("clustered") < 0.8 * width("random")


def test_parts_keep_what_is_forgotten_away_from_what_is_retained(problem: Prepared) -> None:
    forget = forget_sets(RequestPlan("random", "turn", 0.1), problem)[0]
    parts = parts_of(problem, forget)
    assert not set(parts.forget.tolist()) & set(parts.retain.tolist())
    assert parts.named.sum(dim=0).tolist() == [0, 12, 0]
    assert parts.kept.sum(dim=0).tolist() == [12, 0, 12]


def test_what_was_prepared_once_is_read_back(problem: Prepared) -> None:
    again = prepare(problem.key, problem.cache)
    for one, other in zip(problem.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert again.cost == problem.cost
