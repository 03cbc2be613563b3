"""Deletion jobs from claim to publication, on a real database and real files."""

import hashlib
from pathlib import Path

import pytest
from safetensors import safe_open

from app.core.hashing import hash_instances
from app.core.storage import Storage
from models import RegisteredModel
from tests.worker.scripted import obey, playing
from tests.worker.tiny import TRAIN, Tiny
from tests.worker.world import World
from worker.equipment import Equipment
from worker.run import run_next


def ledger(world: World) -> set[tuple[bytes, str]]:
    return {
        (bytes(digest), task)
        for digest, task in world.rows("SELECT instance_hash, task FROM forgotten_supervision")
    }


def test_a_request_becomes_a_version(
    world: World, equipment: Equipment, model: RegisteredModel, tiny: Tiny, tmp_path: Path
) -> None:
    job, request = world.job_with_request(model, instances=["p0", "p1", "p3"])
    assert run_next(equipment)

    done = world.job(job.id)
    assert (done.status, done.device, done.phase, done.lease_expires_at) == ("succeeded", "cpu", None, None)
    [(version_id, number, state, parent, guarantee, artifact)] = world.rows(
        "SELECT id, number, state, parent_id, guarantee, artifact_id FROM model_versions WHERE job_id = :id",
        id=job.id,
    )
    assert (number, state, guarantee, parent) == (2, "published", "exact", model.head_version_id)
    assert world.value("SELECT state FROM model_versions WHERE number = 1") == "superseded"
    assert world.value("SELECT head_version_id FROM registered_models") == version_id
    assert world.value("SELECT version_id FROM aliases WHERE name = 'latest'") == version_id
    told = world.request(request.id)
    assert (told.status, told.result_version_id) == ("succeeded", version_id)
    assert told.finished_at is not None

    # What is stored has the digest that is recorded, and the form that was registered.
    [(path, digest)] = world.rows("SELECT path, sha256 FROM artifacts WHERE id = :id", id=artifact)
    copy = tmp_path / "copy.safetensors"
    Storage(equipment.settings.storage_url).copy_to(path, copy)
    assert hashlib.sha256(copy.read_bytes()).digest() == bytes(digest)
    with safe_open(copy, "pt") as new, safe_open(tiny.checkpoint, "pt") as registered:
        assert new.metadata() == registered.metadata() == {"made": "for tests"}
        assert list(new.keys()) == list(registered.keys())
    report = done.report or {}
    assert report["run"]["digests"]["new"] == f"sha256:{bytes(digest).hex()}"
    assert report["gates"]["passed"] is True
    assert set(report["run"]["seconds"]) == {"loading", "unlearning", "evaluating"}

    # p3 never had a size: there was nothing of it to forget.
    p0, p1, p3 = hash_instances(["p0", "p1", "p3"], model.tenant_id, equipment.settings)
    assert ledger(world) == {(p0, "colour"), (p0, "size"), (p1, "colour"), (p1, "size"), (p3, "colour")}
    remaining = dict(world.rows("SELECT name, remaining FROM model_tasks"))
    assert remaining == {"colour": TRAIN - 3, "size": TRAIN - 3}

    history = [
        type
        for (type,) in world.rows("SELECT type FROM events WHERE subject_id = :id ORDER BY id", id=job.id)
    ]
    assert history == ["job.running", *["job.phase"] * 4, "job.succeeded"]
    audited = {action for (action,) in world.rows("SELECT action FROM audit_log")}
    assert {"job.succeeded", "deletion_request.succeeded", "version.published"} <= audited


def test_later_jobs_start_from_the_newest_version_and_retain_nothing_that_was_forgotten(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = world.job_with_request(model, instances=["p0", "p1"], tasks=["colour"])
    job, _ = world.job_with_request(model, instances=["p5"])
    with playing(monkeypatch, obey) as scripted:
        assert run_next(equipment)
        assert world.value("SELECT count(*) FROM outbox WHERE job_id = :id", id=job.id) == 2  # opened, freed
        assert run_next(equipment)
    forget, present = scripted.problems[1].forget, scripted.problems[1].train.present
    assert [(e.reference, e.rows.tolist(), e.tasks) for e in forget.excluded] == [
        (str(first.id), [0, 1], (0,))
    ]
    retained = forget.retained(present)
    assert not retained[:2, 0].any()
    assert retained[:2, 1].all()
    assert not retained[5].any()
    numbers = world.rows(
        "SELECT v.number, p.number FROM model_versions v JOIN model_versions p ON p.id = v.parent_id"
        " ORDER BY v.number"
    )
    assert numbers == [(2, 1), (3, 2)]
    # A second half is never audited on that was calibrated on before.
    assert list(scripted.problems[0].calibration.ids) == list(scripted.problems[1].calibration.ids)


def test_requests_of_one_job_share_a_version_and_pairs_count_once(
    world: World, equipment: Equipment, model: RegisteredModel
) -> None:
    job = world.open_job(model)
    one = world.deletion(model, job, ["p0", "p1"], ["colour"])
    two = world.deletion(model, job, ["p1", "p2"], ["colour"])
    assert run_next(equipment)
    assert len(ledger(world)) == 3
    assert world.request(one.id).result_version_id == world.request(two.id).result_version_id is not None
    assert world.value("SELECT remaining FROM model_tasks WHERE name = 'colour'") == TRAIN - 3


def test_what_was_never_learned_or_is_forgotten_needs_no_new_version(
    world: World, equipment: Equipment, model: RegisteredModel
) -> None:
    world.job_with_request(model, instances=["p0"], tasks=["colour"])
    assert run_next(equipment)
    job = world.open_job(model)
    again = world.deletion(model, job, ["p0"], ["colour"])
    missing = world.deletion(model, job, ["p3"], ["size"])
    assert run_next(equipment)
    assert world.job(job.id).status == "succeeded"
    head = world.value("SELECT head_version_id FROM registered_models")
    for request in (again, missing):
        assert world.request(request.id).status == "succeeded"
        assert world.request(request.id).result_version_id == head
    assert world.value("SELECT count(*) FROM model_versions") == 2


def test_what_was_reopened_is_forgotten_again_and_retained_by_nobody(
    world: World, equipment: Equipment, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator took the model back: the ledger's entry has no version any more."""
    _, request = world.job_with_request(model, instances=["p0"], tasks=["colour"])
    assert run_next(equipment)
    world.execute("UPDATE forgotten_supervision SET version_id = NULL")
    with playing(monkeypatch, obey) as scripted:
        world.job_with_request(model, instances=["p9"])
        assert run_next(equipment)
        job = world.open_job(model)
        world.execute(
            "UPDATE deletion_requests SET status = 'queued', job_id = :job WHERE id = :id",
            job=job.id,
            id=request.id,
        )
        assert run_next(equipment)
    other, again = (problem.forget for problem in scripted.problems)
    assert not other.retained(scripted.problems[0].train.present)[0, 0]
    assert [entry.rows.tolist() for entry in again.excluded] == [[9]]
    assert again.mask()[0, 0]
    assert world.value("SELECT count(*) FROM forgotten_supervision WHERE version_id IS NULL") == 0


def test_the_interference_aware_method_runs_in_the_service(
    world: World, equipment: Equipment, model: RegisteredModel
) -> None:
    job = world.open_job(model, method="interference_aware")
    world.deletion(model, job, [f"p{number}" for number in range(10)], ["colour"])
    assert run_next(equipment)
    done = world.job(job.id)
    assert (done.status, done.error_detail) == ("succeeded", None)
    run = (done.report or {})["run"]
    assert (run["guarantee"], run["budget"]["visits"]) == ("empirical", 4)
    assert world.value("SELECT guarantee FROM model_versions WHERE number = 2") == "empirical"
