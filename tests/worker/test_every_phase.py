"""An order that comes in any phase, of any kind of job and on any rung, is obeyed in it.

Cancelled, a job leaves the model as it was, and the model and the worker are free for the next one. Drained,
it is handed over: the attempt does not count, and another one ends it.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models import Phase, RegisteredModel
from tests.worker.test_interruptions import CANCEL_JOB, outcomes
from tests.worker.tiny import Tiny
from tests.worker.world import World
from worker import run
from worker.engine.calibration import CalibrationSettings
from worker.engine.interference_aware import InterferenceAware
from worker.engine.methods import METHODS
from worker.equipment import Equipment
from worker.jobs.running import Running
from worker.pipeline import deletion
from worker.run import run_next

DRAIN = "UPDATE jobs SET drain_requested_at = now() WHERE status = 'running'"
CANCEL_REQUESTS = (
    "UPDATE deletion_requests SET status = 'cancelling', cancel_requested_at = now() WHERE status = 'running'"
)
RUNGS = ("first", "larger_budget", "retrain")
# Of each rung: on entering the phase; and when everything is ready to be published.
PLACES = [(rung, place) for rung in RUNGS for place in ("unlearning", "evaluating", "publishing", "ready")]


@contextmanager
def ordered_at(
    world: World,
    patch: pytest.MonkeyPatch,
    statement: str,
    rung: str | None,
    place: str,
    heard: bool = True,
) -> Iterator[list[str]]:
    """Give the order once, when the run of that rung has come to the place, and have the heartbeat hear of
    it. What it came to, in order."""
    came: list[str] = []
    enter, publish = Running.enter, deletion.publish

    def order(running: Running, here: str) -> None:
        came.append(here)
        at_rung = rung is None or running.heartbeat.about.get("rung") == rung
        if here == place and at_rung and "ordered" not in came:
            came.append("ordered")
            if statement is CANCEL_JOB:
                world.execute(CANCEL_REQUESTS)
            world.execute(statement)
            if heard:
                running.heartbeat.beat()  # as it does by itself every two seconds

    def entering(running: Running, phase: Phase) -> None:
        enter(running, phase)
        order(running, phase.value)

    def publishing(running: Running, *arguments: object) -> None:
        order(running, "ready")
        publish(running, *arguments)  # type: ignore[arg-type]

    def beginning(pipeline: Callable[[Running], None]) -> Callable[[Running], None]:
        def begin(running: Running) -> None:
            order(running, "claimed")
            pipeline(running)

        return begin

    with patch.context() as during:
        during.setattr(Running, "enter", entering)
        for kind, pipeline in run.PIPELINES.items():
            during.setitem(run.PIPELINES, kind, beginning(pipeline))
        during.setattr(deletion, "publish", publishing)
        # Every candidate but the retrained one misses.
        judge = deletion.missed_gates
        if rung is not None:
            during.setattr(deletion, "missed_gates", _missing_before(rung, judge))
        yield came


def _missing_before(rung: str, judge: Callable[..., list[object]]) -> Callable[..., list[object]]:
    from worker.pipeline.gates import Miss

    misses = iter([True] * RUNGS.index(rung))

    def missed(*arguments: object) -> list[object]:
        if next(misses, False):
            return [Miss("retained_drop", "colour", 1.0, 2.0)]
        return judge(*arguments)

    return missed


@pytest.fixture
def climbing(world: World, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch) -> RegisteredModel:
    """Every rung is tried; how well it forgets is of no interest here."""
    briefly = CalibrationSettings(reference_samples=80, probe_samples=160)
    monkeypatch.setitem(METHODS, "interference_aware", InterferenceAware(calibration=briefly))
    policy = {"on_miss": ["larger_budget", "retrain", "needs_review"]}
    world.execute(
        "UPDATE registered_models SET policy = policy || CAST(:policy AS jsonb)", policy=json.dumps(policy)
    )
    return model


@pytest.mark.parametrize(("rung", "place"), [(None, "claimed"), (None, "loading"), *PLACES])
def test_a_deletion_is_cancelled_in_every_phase_of_every_rung(
    rung: str | None,
    place: str,
    world: World,
    equipment: Equipment,
    climbing: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    job = world.open_job(climbing, method="interference_aware")
    request = world.deletion(climbing, job, ["p0", "p1"], ["colour"])
    with ordered_at(world, monkeypatch, CANCEL_JOB, rung, place) as came:
        assert run_next(equipment)
    assert came[-1] == "ordered", came  # it entered no other phase
    assert world.job(job.id).status == "cancelled"
    assert world.request(request.id).status == "cancelled"
    # The publication finds out by itself, and has the run released before it is seen that nobody wants it.
    assert outcomes(world) == ["released" if place == "ready" else "cancelled"]
    assert world.value("SELECT count(*) FROM model_versions") == 1
    for (path,) in world.rows("SELECT path FROM artifacts WHERE state = 'pending'"):
        assert not (tmp_path / "storage" / path).exists()  # the relay removes the row
    in_time = "SELECT finished_at - cancel_requested_at < interval '10 s' FROM jobs WHERE id = :id"
    assert world.value(in_time, id=job.id)
    _the_next_is_done(world, equipment, climbing)


@pytest.mark.parametrize(("rung", "place"), [(None, "claimed"), (None, "loading"), *PLACES])
def test_a_deletion_is_handed_over_in_every_phase_of_every_rung(
    rung: str | None,
    place: str,
    world: World,
    equipment: Equipment,
    climbing: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = world.open_job(climbing, method="interference_aware")
    request = world.deletion(climbing, job, ["p0", "p1"], ["colour"])
    with ordered_at(world, monkeypatch, DRAIN, rung, place) as came:
        assert run_next(equipment)
        done = ("queued", "queued", "released")
        if place == "ready":  # what is left is one transaction: it is done
            done = ("succeeded", "succeeded", "succeeded")
        seen = world.job(job.id)
        assert (seen.status, world.request(request.id).status, *outcomes(world)) == done
        assert "ordered" in came
        if place != "ready":
            assert (seen.attempt, seen.lease_holder) == (0, None)
            assert run_next(equipment)
    assert world.job(job.id).status == "succeeded"
    assert world.value("SELECT max(number) FROM model_versions") == 2
    assert world.value("SELECT count(*) FROM model_versions") == 2


@pytest.mark.parametrize("order", [CANCEL_JOB, DRAIN])
@pytest.mark.parametrize("place", ["claimed", "publishing"])
def test_the_validation_of_a_data_set_obeys(
    place: str,
    order: str,
    world: World,
    tiny: Tiny,
    equipment: Equipment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, job = world.dataset(world.tenant(roots=[str(tiny.folder)]), str(tiny.train), str(tiny.holdout))
    _validation_obeys(world, equipment, monkeypatch, job.id, "datasets", place, order)


@pytest.mark.parametrize("order", [CANCEL_JOB, DRAIN])
@pytest.mark.parametrize("place", ["claimed", "evaluating", "publishing"])
def test_the_validation_of_a_model_obeys(
    place: str,
    order: str,
    world: World,
    tiny: Tiny,
    equipment: Equipment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant = world.tenant(roots=[str(tiny.folder)])
    dataset, _ = world.dataset(tenant, str(tiny.train), str(tiny.holdout))
    assert run_next(equipment)
    _, job = world.model(tenant, dataset, checkpoint_url=str(tiny.checkpoint))
    _validation_obeys(world, equipment, monkeypatch, job.id, "registered_models", place, order)


@pytest.mark.parametrize("table", ["datasets", "registered_models"])
def test_a_validation_that_is_cancelled_too_late_for_the_heartbeat_is_cancelled_all_the_same(
    table: str, world: World, tiny: Tiny, equipment: Equipment, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = world.tenant(roots=[str(tiny.folder)])
    dataset, job = world.dataset(tenant, str(tiny.train), str(tiny.holdout))
    if table == "registered_models":
        assert run_next(equipment)
        _, job = world.model(tenant, dataset, checkpoint_url=str(tiny.checkpoint))
    _validation_obeys(world, equipment, monkeypatch, job.id, table, "publishing", CANCEL_JOB, heard=False)


def _validation_obeys(
    world: World,
    equipment: Equipment,
    monkeypatch: pytest.MonkeyPatch,
    job_id: uuid.UUID,
    table: str,
    place: str,
    order: str,
    heard: bool = True,
) -> None:
    """`table`: of what is validated."""
    with ordered_at(world, monkeypatch, order, None, place, heard) as came:
        assert run_next(equipment)
    assert came[-1] == "ordered", came  # it entered no other phase
    seen = world.job(job_id)
    ends = {CANCEL_JOB: ("cancelled", "rejected", "cancelled"), DRAIN: ("queued", "validating", "released")}
    if (table, place) == ("registered_models", "publishing"):  # what is left is one transaction: it is done
        ends[DRAIN] = ("succeeded", "ready", "succeeded")
    outcome = world.value("SELECT outcome FROM attempts WHERE job_id = :id", id=job_id)
    status = f"SELECT status FROM {table} ORDER BY id DESC LIMIT 1"
    assert (seen.status, world.value(status), outcome) == ends[order]
    if seen.status == "queued":
        assert (seen.attempt, seen.lease_holder) == (0, None)
        assert run_next(equipment)
        assert world.value(status) == "ready"


def _the_next_is_done(world: World, equipment: Equipment, model: RegisteredModel) -> None:
    """On the same model, from the same base, by the same worker."""
    job, request = world.job_with_request(model, instances=["p5"])
    assert run_next(equipment)
    assert world.job(job.id).status == "succeeded"
    assert world.request(request.id).status == "succeeded"
    assert world.value("SELECT max(number) FROM model_versions") == 2
