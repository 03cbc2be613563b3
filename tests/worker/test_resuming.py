"""A run that was interrupted goes on where it was, and ends as if nothing had happened."""

from dataclasses import replace
from typing import Any

import pytest

from models import RegisteredModel
from tests.worker.world import World
from worker.engine.baselines.retrain import Retrain
from worker.engine.interference_aware import InterferenceAware
from worker.engine.methods import METHODS
from worker.equipment import Equipment
from worker.jobs.monitor import JobMonitor
from worker.pipeline import load
from worker.run import run_next

DRAIN = "UPDATE jobs SET drain_requested_at = now() WHERE status = 'running'"


def newest_digest(world: World) -> bytes:
    return bytes(
        world.value(
            "SELECT a.sha256 FROM model_versions v JOIN artifacts a ON a.id = v.artifact_id"
            " ORDER BY v.number DESC LIMIT 1"
        )
    )


@pytest.mark.parametrize(
    "method",
    [replace(Retrain(), snapshot_seconds=0.0), replace(InterferenceAware(), snapshot_seconds=0.0)],
    ids=lambda method: method.name,
)
def test_a_run_drained_again_and_again_makes_the_same_checkpoint_bit_for_bit(
    world: World,
    equipment: Equipment,
    model: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
    method: Any,
) -> None:
    """Weights, optimizer, step and generator states go through the database and the storage."""
    seed_of = load.seed_of
    monkeypatch.setattr(load, "seed_of", lambda purpose, subject: seed_of(purpose, model.id))
    monkeypatch.setitem(METHODS, method.name, method)
    progress = JobMonitor.progress
    steps: list[str] = []
    interrupted = True

    def watch(monitor: JobMonitor, done: int, total: int, note: str) -> None:
        steps.append(note)
        if interrupted and len(steps) % 9 == 0 and note != "evaluating":
            world.execute(DRAIN)
            monitor.heartbeat.beat()
        progress(monitor, done, total, note)

    monkeypatch.setattr(JobMonitor, "progress", watch)

    def delete(*, disturbed: bool) -> bytes:
        nonlocal interrupted
        interrupted = disturbed
        job = world.open_job(model, method=method.name)
        world.deletion(model, job, [f"p{number}" for number in range(8)], ["colour"])
        for _ in range(60):
            assert run_next(equipment)
            if world.job(job.id).status == "succeeded":
                return newest_digest(world)
            interrupted = disturbed and len(steps) < 60
        raise AssertionError(f"the job is {world.job(job.id).status}")

    disturbed = delete(disturbed=True)
    assert world.value("SELECT count(*) FROM attempts WHERE outcome = 'released'") >= 2
    take_back_to_version_1(world, model)
    assert delete(disturbed=False) == disturbed


def take_back_to_version_1(world: World, model: RegisteredModel) -> None:
    """As if nothing had been deleted yet."""
    world.execute("DELETE FROM forgotten_supervision")
    world.execute(
        "UPDATE registered_models SET head_version_id = (SELECT id FROM model_versions WHERE number = 1)"
    )
    world.execute("UPDATE model_versions SET state = 'superseded' WHERE number = 2")
    world.execute("UPDATE model_versions SET state = 'published' WHERE number = 1")


def test_a_snapshot_that_breaks_every_attempt_is_given_up(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine cannot take it up: it was made by another version of this program, say."""
    job, _ = world.job_with_request(model)
    monkeypatch.setitem(METHODS, "retrain", replace(Retrain(), snapshot_seconds=0.0))
    progress = JobMonitor.progress

    def drain_once(monitor: JobMonitor, *arguments: Any) -> None:
        if world.job(job.id).fence == 1:
            world.execute(DRAIN)
            monitor.heartbeat.beat()
        progress(monitor, *arguments)

    monkeypatch.setattr(JobMonitor, "progress", drain_once)
    assert run_next(equipment)
    assert world.job(job.id).snapshot_artifact_id is not None

    resume = JobMonitor.resume

    def resume_wrongly(monitor: JobMonitor) -> Any:
        found = resume(monitor)
        return {**found, "step": "no number"} if found is not None else None

    monkeypatch.setattr(JobMonitor, "resume", resume_wrongly)
    assert run_next(equipment)
    assert (world.job(job.id).status, world.job(job.id).error_code) == ("queued", "worker_error")
    world.execute("UPDATE jobs SET not_before = now()")
    assert run_next(equipment)
    assert world.job(job.id).status == "succeeded"
