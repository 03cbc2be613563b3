"""What ends a run before its time: orders, refusals, faults, and the loss of its lease."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import torch

from app.core.storage import NotStored, Storage, Written
from models import RegisteredModel
from tests.worker.scripted import obey, playing, step_until_stopped
from tests.worker.world import World
from worker.engine.baselines.retrain import Retrain
from worker.engine.contract import Refused
from worker.engine.methods import METHODS
from worker.equipment import Equipment, equip, put_away
from worker.jobs.monitor import JobMonitor
from worker.jobs.running import Running
from worker.pipeline import deletion
from worker.pipeline.gates import Miss
from worker.pipeline.load import Loaded, load
from worker.run import run_next

CANCEL_JOB = "UPDATE jobs SET status = 'cancelling', cancel_requested_at = now() WHERE status = 'running'"
TAKE_BACK = "UPDATE deletion_requests SET status = 'cancelling', cancel_requested_at = now() WHERE id = :id"


def outcomes(world: World) -> list[str]:
    rows = world.rows(
        "SELECT attempt.outcome FROM attempts AS attempt JOIN jobs AS job ON job.id = attempt.job_id"
        " WHERE job.kind = 'unlearn' ORDER BY attempt.created_at"
    )
    return [outcome for (outcome,) in rows]


@pytest.mark.usefixtures("quick_heart")
def test_a_cancelled_job_stops_at_the_next_step(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, request = world.job_with_request(model)

    def script(monitor: JobMonitor) -> None:
        world.execute(CANCEL_JOB)
        step_until_stopped(monitor)

    with playing(monkeypatch, script):
        assert run_next(equipment)
    assert world.job(job.id).status == "cancelled"
    assert world.request(request.id).status == "cancelled"
    assert outcomes(world) == ["cancelled"]
    assert world.value("SELECT count(*) FROM model_versions") == 1


def test_a_request_taken_back_while_its_job_runs_is_never_forgotten_and_the_others_are(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.open_job(model)
    stays, leaves = world.deletion(model, job, ["p1"]), world.deletion(model, job, ["p2"])

    def script(monitor: JobMonitor) -> None:
        if world.request(leaves.id).status == "running":
            world.execute(TAKE_BACK, id=leaves.id)
            obey(monitor)

    with playing(monkeypatch, script) as scripted:
        assert run_next(equipment)
        restarted = world.job(job.id)
        assert (restarted.status, restarted.attempt) == ("queued", 0)
        assert world.request(leaves.id).status == "cancelled"
        assert run_next(equipment)
    assert [r.reference for r in scripted.problems[1].forget.requests] == [str(stays.id)]
    assert world.request(stays.id).status == "succeeded"
    assert world.value("SELECT count(DISTINCT instance_hash) FROM forgotten_supervision") == 1
    assert outcomes(world) == ["released", "succeeded"]


def test_a_request_taken_back_too_late_for_the_heartbeat_is_noticed_by_the_publication(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.open_job(model)
    _, leaves = world.deletion(model, job, ["p1"]), world.deletion(model, job, ["p2"])
    with playing(monkeypatch, lambda monitor: None):
        take_back_when_stored(world, monkeypatch, leaves.id)
        assert run_next(equipment)
    assert world.job(job.id).status == "queued"
    assert world.value("SELECT count(*) FROM forgotten_supervision") == 0
    assert (
        world.value("SELECT count(*) FROM artifacts WHERE state = 'pending' AND job_id = :id", id=job.id) == 0
    )


def take_back_when_stored(world: World, monkeypatch: pytest.MonkeyPatch, request_id: object) -> None:
    """Between the candidate's bytes and its publication."""
    from worker.pipeline import deletion

    publish = deletion.publish

    def late(*arguments: object) -> None:
        world.execute(TAKE_BACK, id=request_id)
        publish(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(deletion, "publish", late)


def test_when_all_requests_are_taken_back_the_job_is_cancelled(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, request = world.job_with_request(model)

    def script(monitor: JobMonitor) -> None:
        world.execute(TAKE_BACK, id=request.id)
        obey(monitor)

    with playing(monkeypatch, script):
        assert run_next(equipment)
    assert world.job(job.id).status == "cancelled"
    assert world.request(request.id).status == "cancelled"


@pytest.mark.parametrize("order", [[TAKE_BACK], [TAKE_BACK, CANCEL_JOB]])
def test_a_request_taken_back_before_its_job_has_loaded_anything_is_cancelled(
    order: list[str],
    world: World,
    equipment: Equipment,
    model: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, request = world.job_with_request(model)

    def load_too_late(running: Running) -> Loaded:
        for statement in order:
            world.execute(statement, id=request.id)
        return load(running)

    monkeypatch.setattr(deletion, "load", load_too_late)
    assert run_next(equipment)
    assert world.job(job.id).status == "cancelled"
    assert world.request(request.id).status == "cancelled"
    assert outcomes(world) == ["cancelled"]


@pytest.mark.parametrize("outcome", ["published", "refused", "held"])
def test_one_of_several_taken_back_before_the_job_has_loaded_anything_is_cancelled_too(
    outcome: str,
    world: World,
    equipment: Equipment,
    model: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run never gets to know of it: however the job ends, it must not be left behind."""
    job = world.open_job(model)
    stays, leaves = world.deletion(model, job, ["p1"]), world.deletion(model, job, ["p2"])

    def load_too_late(running: Running) -> Loaded:
        world.execute(TAKE_BACK, id=leaves.id)
        return load(running)

    def script(monitor: JobMonitor) -> None:
        if outcome == "refused":
            raise Refused("forget_set_too_large", "Too much at once.")

    monkeypatch.setattr(deletion, "load", load_too_late)
    if outcome == "held":
        monkeypatch.setattr(deletion, "missed_gates", lambda *_: [Miss("retained_drop", "colour", 1.0, 2.0)])
    with playing(monkeypatch, script):
        assert run_next(equipment)
    assert world.request(leaves.id).status == "cancelled"
    expected = {"published": "succeeded", "refused": "failed", "held": "needs_review"}
    assert world.request(stays.id).status == expected[outcome]


def test_a_drained_run_leaves_a_snapshot_and_the_next_attempt_goes_on_from_it(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, request = world.job_with_request(model)
    retrain = replace(Retrain(), snapshot_seconds=0.0)
    monkeypatch.setitem(METHODS, "retrain", retrain)
    seen: list[tuple[int, str]] = []

    progress = JobMonitor.progress

    def watch(monitor: JobMonitor, done: int, total: int, note: str) -> None:
        if not seen:
            world.execute("UPDATE jobs SET drain_requested_at = now() WHERE id = :id", id=job.id)
            monitor.heartbeat.beat()
        seen.append((done, note))
        progress(monitor, done, total, note)

    monkeypatch.setattr(JobMonitor, "progress", watch)
    assert run_next(equipment)
    released = world.job(job.id)
    assert (released.status, released.attempt) == ("queued", 0)
    assert released.snapshot_artifact_id is not None
    assert (
        world.value("SELECT kind FROM artifacts WHERE id = :id", id=released.snapshot_artifact_id)
        == "snapshot"
    )
    assert world.request(request.id).status == "queued"
    first = len(seen)

    assert run_next(equipment)
    assert world.job(job.id).status == "succeeded"
    training = [done for done, note in seen[first:] if note == "training"]
    assert training[0] > seen[0][0]
    assert outcomes(world) == ["released", "succeeded"]


def test_a_refusal_fails_the_job_with_its_reason_and_leaves_the_model_alone(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, request = world.job_with_request(model)
    behind, _ = world.job_with_request(model, instances=["p4"])

    def script(monitor: JobMonitor) -> None:
        raise Refused("forget_set_too_large", "Too much at once.")

    with playing(monkeypatch, script):
        assert run_next(equipment)
    failed, told = world.job(job.id), world.request(request.id)
    assert (failed.status, failed.error_code, failed.error_detail) == (
        "failed",
        "forget_set_too_large",
        "Too much at once.",
    )
    assert (told.status, told.error_code, told.error_detail) == (
        "failed",
        failed.error_code,
        failed.error_detail,
    )
    assert world.value("SELECT head_version_id FROM registered_models") == model.head_version_id
    assert world.value("SELECT count(*) FROM outbox WHERE job_id = :id", id=behind.id) == 2


def test_a_fault_is_tried_again_later_and_fails_for_good_at_the_cap(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, request = world.job_with_request(model)

    def script(monitor: JobMonitor) -> None:
        raise OSError(28, "No space left on device")

    with playing(monkeypatch, script):
        for attempt in (1, 2, 3):
            world.execute("UPDATE jobs SET not_before = now()")
            assert run_next(equipment)
            tried = world.job(job.id)
            assert tried.attempt == attempt
            if attempt < 3:
                assert tried.status == "queued"
                assert world.value("SELECT not_before > now() FROM jobs WHERE id = :id", id=job.id)
                assert not run_next(equipment)
    failed = world.job(job.id)
    assert (failed.status, failed.error_code) == ("failed", "worker_error")
    assert "device" not in (failed.error_detail or "")
    assert world.request(request.id).status == "failed"
    assert outcomes(world) == ["failed"] * 3


def test_a_job_that_breaks_again_and_again_holds_up_no_others(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those of its own model, however urgent it is, nor once its pause is over."""
    poison = world.open_job(model, due_at=datetime.now(UTC))
    world.deletion(model, poison, ["p0"])
    others = [world.job_with_request(model, instances=[f"p{number}"]) for number in (1, 2)]
    breaks: list[str] = []

    def script(monitor: JobMonitor) -> None:
        if world.job(poison.id).status == "running":
            breaks.append("broken")
            raise OSError(5, "Input/output error")

    with playing(monkeypatch, script):
        for job, request in others:
            assert run_next(equipment)  # the urgent one, which breaks
            assert run_next(equipment)
            assert world.job(job.id).status == "succeeded"
            assert world.request(request.id).status == "succeeded"
            world.execute("UPDATE jobs SET not_before = now() WHERE id = :id", id=poison.id)
    assert len(breaks) == 2
    assert world.job(poison.id).status == "queued"


def test_a_worker_whose_disk_is_full_spoils_no_jobs_attempt(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = world.job_with_request(model)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("worker.jobs.run_folders.tempfile.TemporaryDirectory", full)
    with pytest.raises(OSError, match="No space"):
        run_next(equipment)
    assert (world.job(job.id).status, world.job(job.id).attempt) == ("queued", 0)


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_an_approved_candidate_that_was_damaged_meanwhile_is_made_anew(
    world: World,
    equipment: Equipment,
    model: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    job, request = world.job_with_request(model)
    with monkeypatch.context() as patch:
        patch.setattr(deletion, "missed_gates", lambda *_: [Miss("retained_drop", "colour", 1.0, 2.0)])
        assert run_next(equipment)
    assert world.job(job.id).status == "needs_review"
    path = world.value(
        "SELECT path FROM artifacts WHERE id = (SELECT candidate_artifact_id FROM jobs WHERE id = :id)",
        id=job.id,
    )
    content = bytearray(b"".join(equipment.storage.read(path)))
    content[len(content) // 2] ^= 1
    if damage == "gone":
        equipment.storage.delete(path)
    else:
        equipment.storage.put(path, [bytes(content)])
    world.execute("UPDATE jobs SET status = 'queued', approved_at = now() WHERE id = :id", id=job.id)
    world.execute("UPDATE deletion_requests SET status = 'queued'")

    assert run_next(equipment)
    again = world.job(job.id)
    assert (again.status, again.candidate_artifact_id, again.approved_at) == ("queued", None, None)
    assert world.value("SELECT head_version_id FROM registered_models") == model.head_version_id
    assert world.value("SELECT count(*) FROM events WHERE type = 'job.candidate_damaged'") == 1
    assert run_next(equipment)
    assert world.request(request.id).status == "succeeded"
    [(path, digest)] = world.rows(
        "SELECT path, sha256 FROM artifacts WHERE id = (SELECT artifact_id FROM model_versions"
        " WHERE number = 2)"
    )
    assert equipment.storage.measure(path).sha256 == bytes(digest)


def test_a_flipped_bit_in_the_head_fails_the_job_with_its_reason(
    world: World, equipment: Equipment, model: RegisteredModel
) -> None:
    job, request = world.job_with_request(model)
    path = world.value("SELECT path FROM artifacts WHERE id = (SELECT artifact_id FROM model_versions)")
    content = bytearray(b"".join(equipment.storage.read(path)))
    content[-1] ^= 1
    equipment.storage.put(path, [bytes(content)])
    assert run_next(equipment)
    assert (world.job(job.id).status, world.job(job.id).error_code) == ("failed", "checkpoint_damaged")
    assert world.request(request.id).error_code == "checkpoint_damaged"
    assert world.value("SELECT head_version_id FROM registered_models") == model.head_version_id


def test_bytes_that_arrive_after_the_relay_gave_them_up_are_removed(
    world: World,
    equipment: Equipment,
    model: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker stood still while it wrote its candidate; meanwhile it lost the job."""
    job, _ = world.job_with_request(model)
    put = Storage.put_file

    def put_late(storage: Storage, path: str, *arguments: Any) -> Written:
        world.execute("UPDATE jobs SET fence = fence + 1 WHERE id = :id", id=job.id)
        world.execute("UPDATE artifacts SET state = 'deleted' WHERE path = :path", path=path)
        return put(storage, path, *arguments)

    monkeypatch.setattr(Storage, "put_file", put_late)
    assert run_next(equipment)
    for (path,) in world.rows(
        "SELECT path FROM artifacts WHERE state = 'deleted' AND job_id = :id", id=job.id
    ):
        with pytest.raises(NotStored):
            equipment.storage.size(path)


def test_memory_running_out_is_tried_again(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = world.job_with_request(model)

    def script(monitor: JobMonitor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with playing(monkeypatch, script):
        assert run_next(equipment)
    assert world.job(job.id).status == "queued"


@pytest.mark.parametrize("when", ["unlearning", "publishing"])
def test_a_worker_that_lost_its_lease_writes_nothing_more(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    job, request = world.job_with_request(model)
    other = equip(equipment.settings, "worker-two")
    calls: list[JobMonitor] = []

    def script(monitor: JobMonitor) -> None:
        """The first attempt falls silent; a second one claims the job and publishes."""
        calls.append(monitor)
        if len(calls) == 1:
            world.execute(
                "UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE status = 'running'"
            )
            world.execute(
                "UPDATE jobs SET status = 'queued', lease_expires_at = NULL WHERE id = :id", id=job.id
            )
            world.execute("UPDATE deletion_requests SET status = 'queued'")
            assert run_next(other)
            if when == "unlearning":
                obey(monitor)

    with playing(monkeypatch, script):
        assert run_next(equipment)
    put_away(other)
    done = world.job(job.id)
    assert (done.status, done.fence) == ("succeeded", 2)
    assert world.request(request.id).status == "succeeded"
    assert world.value("SELECT count(*) FROM model_versions") == 2
    assert (
        world.value("SELECT worker FROM attempts WHERE outcome = 'succeeded' AND job_id = :id", id=job.id)
        == "worker-two"
    )
    assert (
        world.value("SELECT count(*) FROM artifacts WHERE job_id = :id AND state = 'stored'", id=job.id) == 1
    )


def test_a_run_goes_on_when_the_database_was_away_for_a_moment(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = world.job_with_request(model)

    def script(monitor: JobMonitor) -> None:
        world.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name IN ('lethe-runs', 'lethe-heartbeat') AND datname = current_database()"
        )

    with playing(monkeypatch, script):
        assert run_next(equipment)
    assert world.job(job.id).status == "succeeded"
