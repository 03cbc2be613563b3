"""What a job tries when its candidate misses a gate, and how it goes on after an interruption."""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from models import RegisteredModel
from tests.worker.world import World
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem, Refused
from worker.engine.methods import METHODS
from worker.equipment import Equipment
from worker.pipeline.ladder import next_rung
from worker.run import run_next

LADDER = {"on_miss": ["larger_budget", "retrain", "needs_review"]}
Made = Callable[[nn.Module], nn.Module]


def as_it_was(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network)


def knowing_nothing(network: nn.Module) -> nn.Module:
    blank = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in blank.parameters():
            parameter.zero_()
    return blank


@dataclass
class Making:
    """A method that hands back, call by call, what it is told to. `calls`: what it was given."""

    name: str
    makes: Sequence[Made | Exception]
    guarantee: Guarantee = "empirical"
    calls: list[tuple[Problem, Budget]] = field(default_factory=list)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        self.calls.append((problem, budget))
        made = self.makes[min(len(self.calls), len(self.makes)) - 1]
        if isinstance(made, Exception):
            raise made
        monitor.progress(1, 2, "making")
        return Outcome(made(problem.network), self.guarantee, 1, 1.0, 1, 1)


@pytest.fixture
def making(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Making]:
    def install(name: str, *makes: Made | Exception) -> Making:
        method = Making(name, makes, "exact" if name == "retrain" else "empirical")
        monkeypatch.setitem(METHODS, name, method)
        return method

    return install


def set_policy(world: World, **changes: Any) -> None:
    world.execute(
        "UPDATE registered_models SET policy = policy || CAST(:changes AS jsonb)",
        changes=json.dumps(changes),
    )


def unlearning_job(
    world: World, model: RegisteredModel, instances: Sequence[str], tasks: Sequence[str]
) -> Any:
    job = world.open_job(model, method="interference_aware")
    world.deletion(model, job, instances, tasks)
    return job


def tried(world: World, job: Any) -> list[tuple[str, str]]:
    return [(record["rung"], record["result"]) for record in world.job(job.id).rungs]


def test_each_rung_is_tried_in_order_and_retraining_is_published_as_exact(
    world: World, equipment: Equipment, model: RegisteredModel, making: Callable[..., Making]
) -> None:
    """The first two candidates know nothing any more, which retained supervision shows."""
    method, exact = making("interference_aware", knowing_nothing), making("retrain", as_it_was)
    set_policy(world, **LADDER, gates={"retained_drop": {"colour": 5.0, "size": None}}, budget_factor=3)
    job = unlearning_job(world, model, ["p0", "p1"], ["colour"])
    assert run_next(equipment)
    done = world.job(job.id)
    assert (done.status, done.error_code) == ("succeeded", None)
    assert tried(world, job) == [("first", "missed"), ("larger_budget", "missed"), ("retrain", "published")]
    assert [budget.scale for _, budget in method.calls] == [1.0, 3.0]
    assert len(exact.calls) == 1
    report = done.report or {}
    assert (report["run"]["method"], report["run"]["guarantee"], report["run"]["rung"]) == (
        "retrain", "exact", "retrain",
    )  # fmt: skip
    assert [record["result"] for record in report["rungs"]] == ["missed", "missed", "published"]
    assert "lost" in report["rungs"][0]["why_not"]
    assert report["rungs"][0]["figures"][0]["gate"] == "retained_drop"
    [(rungs,)] = world.rows("SELECT rungs FROM attempts WHERE job_id = :id", id=job.id)
    assert rungs == done.rungs
    types = [type for (type,) in world.rows("SELECT type FROM events WHERE subject_id = :id", id=job.id)]
    assert (types.count("job.rung_ended"), types.count("job.rung")) == (2, 2)
    assert world.rows("SELECT guarantee, empirical_steps FROM model_versions WHERE number = 2") == [
        ("exact", 0)
    ]
    # Candidates that were not published are nobody's any more.
    assert world.value("SELECT count(*) FROM artifacts WHERE state = 'pending'") == 0


def test_a_killed_worker_goes_on_in_the_rung_it_was_in(
    world: World, equipment: Equipment, model: RegisteredModel, making: Callable[..., Making]
) -> None:
    method = making("interference_aware", knowing_nothing)
    making("retrain", RuntimeError("the worker is gone"), as_it_was)
    set_policy(world, **LADDER, gates={"retained_drop": 5.0})
    job = unlearning_job(world, model, ["p0"], ["colour"])
    assert run_next(equipment)
    interrupted = world.job(job.id)
    assert interrupted.status == "queued"
    assert tried(world, job) == [("first", "missed"), ("larger_budget", "missed")]
    world.execute("UPDATE jobs SET not_before = now()")
    assert run_next(equipment)
    assert world.job(job.id).status == "succeeded"
    assert len(method.calls) == 2  # neither was made again
    attempts = world.rows(
        "SELECT jsonb_array_length(rungs) FROM attempts WHERE job_id = :id ORDER BY fence", id=job.id
    )
    assert attempts == [(2,), (1,)]


def test_a_request_taken_back_has_the_ladder_climbed_anew(
    world: World, equipment: Equipment, model: RegisteredModel, making: Callable[..., Making]
) -> None:
    """What was tried was tried for other requests; the attempt goes on telling of it."""
    job = world.open_job(model, method="interference_aware")
    world.deletion(model, job, ["p0"], ["colour"])
    withdrawn = world.deletion(model, job, ["p1"], ["colour"])

    def withdraw(network: nn.Module) -> nn.Module:
        world.execute(
            "UPDATE deletion_requests SET status = 'cancelling', cancel_requested_at = now() WHERE id = :id",
            id=withdrawn.id,
        )
        return as_it_was(network)

    method = making("interference_aware", knowing_nothing, withdraw, as_it_was)
    set_policy(world, **LADDER, gates={"retained_drop": 5.0})
    assert run_next(equipment)
    assert (world.job(job.id).status, world.job(job.id).rungs) == ("queued", [])
    assert world.job(job.id).candidate_artifact_id is None
    assert run_next(equipment)
    assert world.job(job.id).status == "succeeded"
    assert world.request(withdrawn.id).status == "cancelled"
    assert tried(world, job) == [("first", "published")]
    assert len(method.calls[-1][0].forget.requests) == 1
    assert world.value("SELECT jsonb_array_length(rungs) FROM attempts WHERE outcome = 'released'") == 1


def test_the_best_candidate_waits_for_a_person(
    world: World, equipment: Equipment, model: RegisteredModel, making: Callable[..., Making]
) -> None:
    """Retraining did worse than the larger budget: the recipe is not all that the network was made by."""
    making("interference_aware", knowing_nothing, as_it_was)
    making("retrain", knowing_nothing)
    set_policy(world, **LADDER, gates={"retained_drop": -1.0})
    job = unlearning_job(world, model, ["p0"], ["colour"])
    assert run_next(equipment)
    held = world.job(job.id)
    assert (held.status, held.error_code) == ("needs_review", "gate_missed")
    assert "the best was larger_budget" in (held.error_detail or "")
    assert (held.report or {})["run"]["rung"] == "larger_budget"
    assert len((held.report or {})["rungs"]) == 3
    assert (
        world.value("SELECT state FROM artifacts WHERE id = :id", id=held.candidate_artifact_id) == "stored"
    )
    decision = (
        '{"decision": "approved", "by": "key:x", "reason": "looked at it", "at": "2026-11-24T00:00:00Z"}'
    )
    world.execute(
        "UPDATE jobs SET status = 'queued', approved_at = now(), decision = CAST(:d AS jsonb) WHERE id = :id",
        d=decision,
        id=job.id,
    )
    world.execute("UPDATE deletion_requests SET status = 'queued'")
    assert run_next(equipment)
    report = world.value("SELECT report FROM model_versions WHERE number = 2")
    assert report["gates"]["decision"]["reason"] == "looked at it"
    assert world.value("SELECT empirical_steps FROM model_versions WHERE number = 2") == 1


def test_what_a_method_refuses_retraining_may_do(
    world: World, equipment: Equipment, model: RegisteredModel, making: Callable[..., Making]
) -> None:
    making("interference_aware", Refused("forget_set_too_large", "Too much."))
    making("retrain", as_it_was)
    job = unlearning_job(world, model, ["p0"], ["colour"])
    assert run_next(equipment)  # the policy allows nothing else
    assert (world.job(job.id).status, world.job(job.id).error_code) == ("failed", "forget_set_too_large")
    set_policy(world, **LADDER)
    job = unlearning_job(world, model, ["p0"], ["colour"])
    assert run_next(equipment)
    assert tried(world, job) == [("first", "refused"), ("retrain", "published")]


def test_so_many_approximate_steps_then_an_exact_one(
    world: World, equipment: Equipment, model: RegisteredModel, making: Callable[..., Making]
) -> None:
    making("interference_aware", as_it_was)
    making("retrain", as_it_was)
    set_policy(world, max_empirical_steps=2)
    for instance in ("p0", "p1", "p2", "p4"):
        unlearning_job(world, model, [instance], ["colour"])
        assert run_next(equipment)
    versions = world.rows(
        "SELECT guarantee, empirical_steps FROM model_versions WHERE number > 1 ORDER BY number"
    )
    assert versions == [("empirical", 1), ("empirical", 2), ("exact", 0), ("empirical", 1)]
    [(rungs,)] = world.rows("SELECT report -> 'rungs' FROM model_versions WHERE number = 4")
    assert rungs[0]["why"] == "2 approximate steps lie behind the base, and the policy allows 2"


def test_what_came_back_is_unlearned_again_in_the_same_job(
    world: World, equipment: Equipment, model: RegisteredModel, making: Callable[..., Making]
) -> None:
    """The first version knows nothing; the second job's first candidate knows all again."""
    known: list[nn.Module] = []

    def forget_all(network: nn.Module) -> nn.Module:
        known.append(network)
        return knowing_nothing(network)

    method = making("interference_aware", forget_all, lambda network: as_it_was(known[0]), as_it_was)
    set_policy(world, gates={"forget_excess": -100.0})
    first = unlearning_job(world, model, [f"p{number}" for number in range(30)], ["colour"])
    second_of_first = world.deletion(model, first, [f"p{number}" for number in range(30, 60)], ["colour"])
    world.execute("UPDATE registered_models SET policy = policy || '{\"gates\": {}}'")
    assert run_next(equipment)
    set_policy(world, gates={"forget_excess": -100.0})
    job = unlearning_job(world, model, ["p100", "p101"], ["colour"])
    assert run_next(equipment)
    assert tried(world, job) == [("first", "missed"), ("unlearn_again", "published")]
    again = method.calls[2][0].forget
    assert [(len(request.rows), request.tasks, request.again) for request in again.requests] == [
        (2, (0,), False), (30, (0,), True), (30, (0,), True),
    ]  # fmt: skip
    assert again.excluded == ()
    report = world.job(job.id).report or {}
    assert "earlier requests had forgotten" in report["rungs"][0]["why_not"]
    assert str(second_of_first.id) in {reference for reference, _ in report["rungs"][0]["came_back"]}
    [level] = report["earlier_levels"]
    assert (level["instances"], len(level["references"]), level["risen"]) == (60, 2, False)
    # The figures are those of what this job was asked for.
    assert report["tasks"]["colour"]["forget"]["after"]["n"] == 2


def test_the_bound_of_what_was_forgotten_before_is_asked_until_it_was_unlearned_again(
    world: World, equipment: Equipment, model: RegisteredModel, making: Callable[..., Making]
) -> None:
    """What still leads then, but by less than the bound for all that is forgotten, is published."""
    known: list[nn.Module] = []

    def forget_all(network: nn.Module) -> nn.Module:
        known.append(network)
        return knowing_nothing(network)

    def remember(network: nn.Module) -> nn.Module:
        return as_it_was(known[0])

    making("interference_aware", forget_all, remember, remember)
    set_policy(world, gates={})
    unlearning_job(world, model, [f"p{number}" for number in range(60)], ["colour"])
    assert run_next(equipment)
    set_policy(world, gates={"earlier_excess": -100.0, "forget_excess": 100.0})
    job = unlearning_job(world, model, ["p100", "p101"], ["colour"])
    assert run_next(equipment)
    assert tried(world, job) == [("first", "missed"), ("unlearn_again", "published")]


def test_a_larger_budget_stays_larger_when_what_was_forgotten_before_is_unlearned_again() -> None:
    missed = {"method": "interference_aware", "result": "missed", "why_not": "It missed."}
    first = missed | {"rung": "first", "scale": 1.0, "only_earlier": False}
    larger = missed | {"rung": "larger_budget", "scale": 4.0, "only_earlier": True}
    rung = next_rung(LADDER, "interference_aware", 0, [first, larger])
    assert rung is not None
    assert (rung.name, rung.scale) == ("unlearn_again", 4.0)


def test_what_is_no_longer_in_the_data_is_recorded_as_no_longer_checkable(
    world: World, equipment: Equipment, model: RegisteredModel, making: Callable[..., Making]
) -> None:
    making("interference_aware", as_it_was)
    first = unlearning_job(world, model, ["p0", "p1"], ["colour", "size"])
    assert run_next(equipment)
    world.execute("DELETE FROM dataset_instances WHERE position = 0")
    job = unlearning_job(world, model, ["p5"], ["colour"])
    assert run_next(equipment)
    report = world.job(job.id).report or {}
    [request] = world.rows("SELECT id FROM deletion_requests WHERE job_id = :id", id=first.id)
    assert report["earlier_gone"] == [
        {"reference": str(request.id), "task": task, "labels": 1} for task in ("colour", "size")
    ]
    assert {entry["instances"] for entry in report["earlier"]} == {1}


def test_an_exact_request_has_what_was_only_unlearned_retrained_without(
    world: World, equipment: Equipment, model: RegisteredModel, making: Callable[..., Making]
) -> None:
    making("interference_aware", as_it_was)
    exact = making("retrain", as_it_was)
    unlearning_job(world, model, ["p0"], ["colour"])
    assert run_next(equipment)
    job, request = world.job_with_request(model, instances=["p0"], tasks=["colour"])
    world.execute("UPDATE deletion_requests SET guarantee = 'exact' WHERE id = :id", id=request.id)
    assert run_next(equipment)
    assert len(exact.calls) == 1
    assert world.value("SELECT guarantee FROM model_versions WHERE job_id = :id", id=job.id) == "exact"


@pytest.mark.parametrize(("on_miss", "steps"), [("needs_review", []), (["retrain", "fail"], ["retrain"])])
def test_which_rungs_are_left_is_the_policys(on_miss: Any, steps: list[str]) -> None:
    policy, tried, found = {"on_miss": on_miss}, [], []
    while rung := next_rung(policy, "interference_aware", 0, tried):
        record = {"rung": rung.name, "method": rung.method, "result": "missed", "only_earlier": False}
        tried.append(record | {"why_not": "It missed."})
        found.append(rung.name)
    assert found == ["first", *steps]
    assert next_rung(policy, "retrain", 0, [tried[0] | {"method": "retrain"}]) is None
