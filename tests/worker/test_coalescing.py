"""Requests of one job that overlap, repeat or widen one another, or are taken back: each comes out right."""

import pytest

from app.certificates.facts import read_facts
from app.certificates.unlearning import unlearning_predicate
from models import RegisteredModel
from tests.worker.scripted import playing
from tests.worker.test_deletion import ledger
from tests.worker.world import World
from worker.equipment import Equipment
from worker.jobs.monitor import JobMonitor
from worker.run import run_next


def supervision(world: World, request_id: object) -> dict[str, object]:
    """Of the request's certificate, as far as labels go."""
    with world.change() as session:
        facts = read_facts(session, request_id)  # type: ignore[arg-type]
        predicate = unlearning_predicate(facts, "http://lethe")
    found = predicate["supervision"]
    return {
        "outcome": predicate["outcome"],
        "now": found["forgotten_by_this_version"],
        "before": [(each["version"], each["labels"]) for each in found["forgotten_before"]],
        "own": [(entry["task"], entry["instances"]) for entry in predicate["measurements"]["this_request"]]
        if "measurements" in predicate
        else None,
    }


def test_overlapping_repeated_and_wider_requests_of_one_job(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.open_job(model)
    partial = world.deletion(model, job, ["p0", "p1"], ["colour"])
    repeated = world.deletion(model, job, ["p0", "p1"], ["colour"])
    wider = world.deletion(model, job, ["p1", "p2"], ["colour", "size"])
    withdrawn = world.deletion(model, job, ["p2", "p9"], ["colour", "size"])

    def withdraw(monitor: JobMonitor) -> None:
        world.execute(
            "UPDATE deletion_requests SET status = 'cancelling', cancel_requested_at = now() WHERE id = :id",
            id=withdrawn.id,
        )
        monitor.heartbeat.beat()
        monitor.check()

    with playing(monkeypatch, withdraw):
        assert run_next(equipment)
    assert world.request(withdrawn.id).status == "cancelled"
    assert run_next(equipment)

    for request in (partial, repeated, wider):
        assert world.request(request.id).status == "succeeded"
    # p0 and p1 for colour, p1 and p2 for both: five labels, none of them twice; nothing of p9.
    assert len(ledger(world)) == 5
    for request in (partial, repeated):
        assert supervision(world, request.id) == {
            "outcome": "unlearned", "now": 2, "before": [], "own": [("colour", 2)],
        }  # fmt: skip
    assert supervision(world, wider.id) == {
        "outcome": "unlearned", "now": 4, "before": [], "own": [("colour", 2), ("size", 2)],
    }  # fmt: skip


def test_a_request_that_widens_an_earlier_one_forgets_the_rest(
    world: World, equipment: Equipment, model: RegisteredModel
) -> None:
    world.job_with_request(model, instances=["p0", "p1"], tasks=["colour"])
    assert run_next(equipment)
    _, full = world.job_with_request(model, instances=["p0", "p1"])
    assert run_next(equipment)
    found = supervision(world, full.id)
    assert (found["now"], found["before"]) == (2, [(2, 2)])
    _, again = world.job_with_request(model, instances=["p0"])
    assert run_next(equipment)
    assert supervision(world, again.id) == {
        "outcome": "nothing_left",
        "now": 0,
        "before": [(2, 1), (3, 1)],
        "own": None,
    }
