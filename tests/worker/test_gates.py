"""Gates: what is compared, and what happens to a candidate that misses one."""

from typing import Any

import pytest

from models import RegisteredModel
from tests.worker.world import World
from worker.equipment import Equipment
from worker.pipeline.gates import gate_record, missed_gates
from worker.run import run_next


def figures(before: float, after: float, n: int = 50) -> dict[str, Any]:
    """With 95 % intervals of three points to either side."""
    return {
        when: {"value": value, "low": value - 3, "high": value + 3, "n": n}
        for when, value in (("before", before), ("after", after))
    }


def report(guarantee: str = "empirical", **parts: Any) -> dict[str, Any]:
    task = {"forget": None, "retain": None, "holdout": None, "unnamed_same_instances": None}
    return {"run": {"guarantee": guarantee}, "tasks": {"colour": task | parts}}


BOUNDS = {"retained_drop": 5.0, "unnamed_drop": 5.0, "forget_excess": 10.0}


@pytest.mark.parametrize(
    ("parts", "gate"),
    [
        ({"retain": figures(90, 84)}, "retained_drop"),
        ({"unnamed_same_instances": figures(90, 84)}, "unnamed_drop"),
        ({"forget": figures(99, 95), "holdout": figures(80, 80)}, "forget_excess"),
    ],
)
def test_a_figure_beyond_its_bound_is_a_miss(parts: dict[str, Any], gate: str) -> None:
    [miss] = missed_gates(report(**parts), BOUNDS)
    assert (miss.gate, miss.task, miss.bound) == (gate, "colour", BOUNDS[gate])
    assert "'colour'" in miss.sentence()
    assert f"{miss.figure:.1f}" in miss.sentence()
    assert f"{miss.bound:g}" in miss.sentence()


@pytest.mark.parametrize(
    "parts",
    [
        {"retain": figures(90, 85)},  # on the bound
        {"retain": figures(90, 0, n=49)},  # too few to decide on
        {"forget": figures(99, 93), "holdout": figures(80, 80)},  # 13 better, give or take 4
        {"forget": figures(99, 10), "holdout": figures(80, 80)},  # worse than unseen: no gate of these
    ],
)
def test_what_keeps_its_bounds_or_cannot_be_measured_passes(parts: dict[str, Any]) -> None:
    assert missed_gates(report(**parts), BOUNDS) == []


def test_retraining_cannot_have_kept_what_it_never_saw() -> None:
    excess = {"forget": figures(99, 99), "holdout": figures(80, 80)}
    assert missed_gates(report("exact", **excess), BOUNDS) == []


def test_what_was_not_measured_was_neither_kept_nor_missed() -> None:
    small = {"forget": figures(99, 95, n=2), "holdout": figures(80, 80)}
    record = gate_record(report(**small), BOUNDS, [])
    assert (record["passed"], record["decided"]) == (None, [])
    [gap] = record["not_measured"]
    assert (gap["gate"], gap["instances"]) == ("forget_excess", {"forget": 2, "holdout": 50})
    assert "too few to measure (2 forgotten and 50 in the holdout; 50 are needed)" in gap["says"]
    record = gate_record(report(retain=figures(90, 86), **small), BOUNDS, [])
    assert record["passed"] is True
    assert [(each["gate"], each["kept"]) for each in record["decided"]] == [("retained_drop", True)]
    assert [each["gate"] for each in record["not_measured"]] == ["forget_excess"]
    assert gate_record(report("exact", **small), BOUNDS, [])["not_measured"] == []


def attacked(auc: float, members: int, others: int = 1000) -> dict[str, Any]:
    both = {"forget": figures(80, 80, members), "holdout": figures(80, 80, others)}
    error = (1 / members + 1 / others) ** 0.5 / 12**0.5
    return both | {"membership": {"after": {"auc": auc, "standard_error": error}}}


@pytest.mark.parametrize(("auc", "is_missed"), [(0.75, True), (0.25, True), (0.55, False), (0.45, False)])
def test_membership_is_looked_at_from_both_sides(auc: float, is_missed: bool) -> None:
    missed = missed_gates(report(**attacked(auc, 200)), {"membership_auc": 0.1})
    assert [miss.gate for miss in missed] == ["membership_auc"] * is_missed
    assert missed_gates(report("exact", **attacked(auc, 200)), {"membership_auc": 0.1}) == []


@pytest.mark.parametrize(("bound", "members", "others"), [(0.05, 130, 1000), (0.1, 60, 60), (0.2, 49, 1000)])
def test_too_few_for_an_auc_decide_nothing_however_bad_it_looks(
    bound: float, members: int, others: int
) -> None:
    """Chance alone would reach the bound."""
    found = report(**attacked(1.0, members, others))
    assert missed_gates(found, {"membership_auc": bound}) == []
    record = gate_record(found, {"membership_auc": bound}, [])
    assert (record["passed"], record["decided"]) == (None, [])
    assert "too few to measure" in record["not_measured"][0]["says"]
    enough = record["not_measured"][0]["needed"]
    [miss] = missed_gates(report(**attacked(1.0, enough, enough)), {"membership_auc": bound})
    assert miss.figure > bound


def test_bounds_may_differ_by_task_and_bound_the_loss() -> None:
    found = report(retain=figures(90, 87))
    found["tasks"]["size"] = found["tasks"]["colour"] | {
        "loss": {"retain": {"before": 0.1, "after": 0.4}, "holdout": {"before": 1.5, "after": 1.5}}
    }
    gates = {"retained_drop": {"colour": 2.0, "size": 4.0}, "retained_loss": 10.0}
    [drop, loss] = missed_gates(found, gates)
    assert (drop.gate, drop.task, drop.bound) == ("retained_drop", "colour", 2.0)
    assert (loss.gate, loss.task, round(loss.figure)) == ("retained_loss", "size", 20)
    [gap] = gate_record(found, gates, [drop, loss])["not_measured"]
    assert (gap["gate"], gap["task"]) == ("retained_loss", "colour")


@pytest.mark.parametrize(
    ("before", "after", "risen", "is_back"),
    [
        (85, 95, True, True),  # over the bound in this job
        (89, 95, False, True),  # crept over it
        (95, 97, False, False),  # as high before: retraining left it there
        (95, 99, True, True),
        (85, 90, True, False),
    ],
)
def test_what_came_back_is_beyond_the_bound_and_beyond_what_the_base_knew(
    before: float, after: float, risen: bool, is_back: bool
) -> None:
    found = report(holdout=figures(80, 80)) | {
        "earlier_levels": [
            {"task": "colour", "references": ["r"], "forget": figures(before, after), "risen": risen}
        ]
    }
    missed = missed_gates(found, BOUNDS)
    assert [(miss.gate, miss.came_back) for miss in missed] == [("earlier_excess", ("r",))] * is_back
    record = gate_record(found, BOUNDS, missed)
    assert [entry["kept"] for entry in record["decided"]] == [not is_back]
    assert missed_gates(found | {"run": {"guarantee": "exact"}}, BOUNDS) == []


@pytest.mark.parametrize(
    ("bounds", "after", "is_back", "is_back_again"),
    [
        ({"forget_excess": 10.0, "earlier_excess": 0.0}, 86, True, False),  # 6 better, give or take 4
        ({"forget_excess": 10.0, "earlier_excess": 0.0}, 84, False, False),  # chance explains it
        ({"forget_excess": 10.0, "earlier_excess": 0.0}, 95, True, True),
        ({"forget_excess": 10.0, "earlier_excess": None}, 86, False, False),
        ({"forget_excess": 10.0, "earlier_excess": None}, 95, True, True),
        ({"forget_excess": 10.0, "earlier_excess": 20.0}, 95, False, False),
        ({"forget_excess": None, "earlier_excess": 0.0}, 86, True, False),
        ({"forget_excess": None, "earlier_excess": {"colour": 0.0}}, 86, True, False),
        ({"forget_excess": None, "earlier_excess": None}, 99, False, False),
    ],
)
def test_what_was_forgotten_before_has_a_bound_of_its_own_until_it_was_unlearned_again(
    bounds: dict[str, Any], after: float, is_back: bool, is_back_again: bool
) -> None:
    found = report(holdout=figures(80, 80)) | {
        "earlier_levels": [
            {"task": "colour", "references": ["r"], "forget": figures(80, after), "risen": True}
        ]
    }
    for again, expected in ((False, is_back), (True, is_back_again)):
        missed = missed_gates(found, bounds, again)
        assert [miss.gate for miss in missed] == ["earlier_excess"] * expected
        decided = gate_record(found, bounds, missed, again)["decided"]
        assert all(entry["kept"] is not expected for entry in decided)


def test_less_than_nothing_is_called_none() -> None:
    found = report(retain=figures(90, 91), forget=figures(99, 80), holdout=figures(80, 80))
    said = [entry["says"] for entry in gate_record(found, BOUNDS, [])["decided"]]
    assert said == [
        "Task 'colour', loss on retained supervision: none, at most 5 are allowed: kept.",
        "Task 'colour', lead of the forgotten over the holdout, beyond chance: none, at most 10 are allowed: "
        "kept.",
    ]


@pytest.fixture
def strict_model(world: World, model: RegisteredModel) -> RegisteredModel:
    world.execute("UPDATE registered_models SET policy = jsonb_set(policy, '{gates,retained_drop}', '-100')")
    return model


def test_a_miss_waits_for_a_person_and_is_published_when_approved(
    world: World, equipment: Equipment, strict_model: RegisteredModel
) -> None:
    job, request = world.job_with_request(strict_model)
    behind, _ = world.job_with_request(strict_model, instances=["p8"])
    assert run_next(equipment)
    held = world.job(job.id)
    assert (held.status, held.error_code) == ("needs_review", "gate_missed")
    assert "at most -100 are allowed" in (held.error_detail or "")
    assert (
        world.value("SELECT state FROM artifacts WHERE id = :id", id=held.candidate_artifact_id) == "stored"
    )
    assert world.request(request.id).status == "needs_review"
    assert not run_next(equipment)
    assert world.job(behind.id).status == "queued"

    world.execute("UPDATE jobs SET status = 'queued', approved_at = now() WHERE id = :id", id=job.id)
    world.execute("UPDATE deletion_requests SET status = 'queued' WHERE id = :id", id=request.id)
    assert run_next(equipment)
    assert world.job(job.id).status == "succeeded"
    assert world.request(request.id).status == "succeeded"
    assert (
        world.value("SELECT artifact_id FROM model_versions WHERE number = 2") == held.candidate_artifact_id
    )


def test_a_candidate_of_the_last_attempt_is_published_all_the_same_when_approved(
    world: World, equipment: Equipment, strict_model: RegisteredModel
) -> None:
    """Attempts that were lost before it came to review are no reason to fail what a person let through."""
    job, request = world.job_with_request(strict_model)
    before = equipment.settings.max_attempts - 1
    world.execute("UPDATE jobs SET attempt = :n WHERE id = :id", n=before, id=job.id)
    assert run_next(equipment)
    assert world.job(job.id).status == "needs_review"
    world.execute("UPDATE jobs SET status = 'queued', approved_at = now() WHERE id = :id", id=job.id)
    world.execute("UPDATE deletion_requests SET status = 'queued' WHERE id = :id", id=request.id)
    assert run_next(equipment)
    assert world.job(job.id).status == "succeeded"
    assert world.request(request.id).status == "succeeded"


def test_an_approved_candidate_is_dropped_when_a_request_was_taken_back_since(
    world: World, equipment: Equipment, strict_model: RegisteredModel
) -> None:
    job, request = world.job_with_request(strict_model)
    withdrawn = world.deletion(strict_model, job, ["p8"])
    assert run_next(equipment)
    world.execute("UPDATE jobs SET status = 'queued', approved_at = now() WHERE id = :id", id=job.id)
    world.execute("UPDATE deletion_requests SET status = 'queued'")
    world.execute("UPDATE deletion_requests SET status = 'cancelled' WHERE id = :id", id=withdrawn.id)
    assert run_next(equipment)
    again = world.job(job.id)
    assert (again.status, again.candidate_artifact_id, again.approved_at) == ("queued", None, None)
    assert world.request(request.id).status == "queued"
    assert world.value("SELECT count(*) FROM forgotten_supervision") == 0


def test_a_policy_may_fail_a_miss_at_once(
    world: World, equipment: Equipment, strict_model: RegisteredModel
) -> None:
    world.execute(
        "UPDATE registered_models SET policy = jsonb_set(policy, '{on_miss}', to_jsonb(CAST('fail' AS text)))"
    )
    job, request = world.job_with_request(strict_model)
    assert run_next(equipment)
    failed = world.job(job.id)
    assert (failed.status, failed.error_code) == ("failed", "gate_missed")
    assert (failed.report or {})["gates"]["missed"]
    assert world.request(request.id).error_code == "gate_missed"
    assert world.value("SELECT count(*) FROM model_versions") == 1
    assert world.value("SELECT state FROM artifacts WHERE job_id = :id", id=job.id) == "deleted"
