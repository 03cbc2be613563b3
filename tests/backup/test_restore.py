"""A database that comes back from a backup asks again for what was asked since."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from app.backup import __main__ as backup
from app.backup.checking import damaged_versions
from app.backup.copying import copy_objects
from app.backup.dumping import DumpFailed, dump, load
from app.backup.reapplying import reapply_journal
from app.backup.sweeping import remove_unknown_objects
from app.core.database import relay_url, sync_engine
from app.core.hashing import hash_instances
from app.core.object_store import ObjectStore
from app.core.settings import Settings
from app.core.storage import Storage, Written
from app.relay.adoption import adopt_requests
from app.relay.journal import Journal
from app.relay.leases import reclaim_expired
from app.standalone.postgres import PostgresServer
from models import RegisteredModel
from tests.database import Database
from tests.worker.conftest import database, equipment, model, tiny, validated, world  # noqa: F401 (fixtures)
from tests.worker.world import World
from worker.equipment import Equipment, equip, put_away
from worker.run import run_next


@pytest.fixture
def app_sessions(settings: Settings) -> Iterator[sessionmaker[Session]]:
    engine = sync_engine(settings, relay_url(settings), "lethe-relay")
    yield sessionmaker(engine)
    engine.dispose()


def test_what_was_deleted_after_the_backup_is_deleted_again(
    world: World,  # noqa: F811
    equipment: Equipment,  # noqa: F811
    model: RegisteredModel,  # noqa: F811
    app_sessions: sessionmaker[Session],
    postgres: PostgresServer,
    empty_database: str,
    tmp_path: Path,
) -> None:
    _, before = world.job_with_request(model, instances=["p0"])
    assert run_next(equipment)
    storage, kept = equipment.storage, Storage(f"file://{tmp_path}/kept")
    Journal(app_sessions, storage).write()
    dump(str(world.engine.url.render_as_string(hide_password=False)), tmp_path / "dump", postgres.binaries)
    copy_objects(storage, kept)

    _, after = world.job_with_request(model, instances=["p1", "p2"], tasks=["colour"])
    assert run_next(equipment)
    job, taken_back = world.job_with_request(model, instances=["p3"])
    assert Journal(app_sessions, storage).write() == 2
    world.execute("UPDATE jobs SET status = 'cancelled' WHERE id = :id", id=job.id)
    world.execute(
        "UPDATE deletion_requests SET status = 'cancelled', finished_at = now(), journaled_at = NULL"
        " WHERE id = :id",
        id=taken_back.id,
    )
    assert Journal(app_sessions, storage).write() == 1
    assert Journal(app_sessions, storage).write() == 0

    # The database is gone, and of the storage everything but the journal.
    root = Path(world.settings.storage_url.removeprefix("file://"))
    for folder in root.iterdir():
        if folder.name != "journal":
            shutil.rmtree(folder)
    copy_objects(kept, storage)
    load(empty_database, tmp_path / "dump", postgres.binaries)
    owner = create_engine(empty_database)
    done = reapply_journal(sessionmaker(owner), storage, world.settings)
    assert (done.queued, done.cancelled, done.impossible) == (1, 0, [])
    assert reapply_journal(sessionmaker(owner), storage, world.settings).queued == 0
    assert list(damaged_versions(sessionmaker(owner), storage)) == []

    restored = Database(make_url(empty_database).render_as_string(hide_password=False))
    settings = world.settings.model_copy(
        update={"worker_database_url": type(world.settings.database_url)(restored.worker_url)}
    )
    assert adopt_requests(sessionmaker(owner)) == 1
    worker = equip(settings, "restored")
    assert run_next(worker)
    put_away(worker)
    there = World(restored, settings)
    assert there.request(before.id).status == there.request(after.id).status == "succeeded"
    assert there.value("SELECT count(DISTINCT instance_hash) FROM forgotten_supervision") == 3
    assert there.value("SELECT count(*) FROM deletion_requests WHERE id = :id", id=taken_back.id) == 0
    there.engine.dispose()
    owner.dispose()


def test_a_request_taken_back_after_the_backup_stays_taken_back(
    world: World,  # noqa: F811
    app_sessions: sessionmaker[Session],
    settings: Settings,
) -> None:
    storage = Storage(settings.storage_url)
    _, request = world.job_with_request(world.ready_model(world.tenant()))
    world.execute("UPDATE deletion_requests SET status = 'cancelled', finished_at = now()")
    assert Journal(app_sessions, storage).write() == 1
    world.execute("ALTER TABLE deletion_requests DISABLE TRIGGER enforce_transition")
    world.execute("UPDATE deletion_requests SET status = 'queued', finished_at = NULL")
    done = reapply_journal(sessionmaker(world.engine), storage, settings)
    assert (done.queued, done.cancelled) == (0, 1)
    assert world.request(request.id).status == "cancelled"


def test_what_waited_for_a_persons_word_waits_after_a_restore_until_it_was_given(
    world: World,  # noqa: F811
    app_sessions: sessionmaker[Session],
    settings: Settings,
) -> None:
    storage, owner = Storage(settings.storage_url), sessionmaker(world.engine)
    reasons = {"reasons": [{"code": "share", "detail": "so"}]}
    of = world.ready_model(world.tenant())
    request = world.deletion(of, None, status="awaiting_approval", approval=reasons)
    approve = "UPDATE deletion_requests SET status = 'queued', approved_at = now(), journaled_at = NULL"
    for word, expected in ((None, "awaiting_approval"), (approve, "queued")):
        if word is not None:
            world.execute(word)
        assert Journal(app_sessions, storage).write() == 1
        for table in ("deletion_request_items", "deletion_requests"):
            world.execute(f"DELETE FROM {table}")
        assert reapply_journal(owner, storage, settings).queued == 1
        restored = world.request(request.id)
        assert (restored.status, restored.approved_at is not None) == (expected, word is not None)


@pytest.mark.parametrize("at_the_dump", ["running", "needs_review"])
def test_a_request_that_the_dump_has_under_way_and_was_taken_back_since_is_taken_back(
    world: World,  # noqa: F811
    app_sessions: sessionmaker[Session],
    settings: Settings,
    at_the_dump: str,
) -> None:
    """With it its job, which would be for nobody; another request of the same model's is left alone."""
    storage = Storage(settings.storage_url)
    registered = world.ready_model(world.tenant())
    job, request = world.job_with_request(registered)
    _, other = world.job_with_request(registered, instances=["p1"])
    lease = "lease_expires_at = now() - interval '1 minute'," if at_the_dump == "running" else ""
    world.execute(
        "UPDATE jobs SET status = 'running', lease_expires_at = now(), fence = 1 WHERE id = :id", id=job.id
    )
    world.execute("UPDATE deletion_requests SET status = 'running' WHERE id = :id", id=request.id)
    world.execute("ALTER TABLE deletion_requests DISABLE TRIGGER enforce_transition")
    world.execute("UPDATE deletion_requests SET status = 'cancelled' WHERE id = :id", id=request.id)
    assert Journal(app_sessions, storage).write() == 2
    world.execute(
        "UPDATE deletion_requests SET status = :status WHERE id = :id", id=request.id, status=at_the_dump
    )
    world.execute("ALTER TABLE deletion_requests ENABLE TRIGGER enforce_transition")
    world.execute(
        f"UPDATE jobs SET {lease} status = :status"
        f"{', lease_expires_at = NULL' if not lease else ''} WHERE id = :id",
        id=job.id,
        status=at_the_dump,
    )
    assert reapply_journal(sessionmaker(world.engine), storage, settings).cancelled == 1
    reclaim_expired(app_sessions, 3)
    assert world.request(request.id).status == world.job(job.id).status == "cancelled"
    assert world.request(other.id).status == "queued"
    assert reapply_journal(sessionmaker(world.engine), storage, settings).cancelled == 0


def test_a_request_on_a_data_set_comes_back_with_its_parts(
    world: World,  # noqa: F811
    app_sessions: sessionmaker[Session],
    settings: Settings,
) -> None:
    storage = Storage(settings.storage_url)
    tenant = world.tenant()
    _, part = world.job_with_request(world.ready_model(tenant))
    parent = uuid.uuid4()
    world.execute(
        "INSERT INTO deletion_requests (id, tenant_id, dataset_id, tasks, scope, method, instance_count,"
        " hash_key_id, reference, regulation, metadata, due_at, acknowledge_by)"
        " SELECT :parent, tenant_id, dataset_id, tasks, scope, method, 1, hash_key_id, 'case 7', 'gdpr',"
        " '{\"a\": 1}', now(), now() FROM deletion_requests",
        parent=parent,
    )
    world.execute(
        "UPDATE deletion_requests SET parent_id = :parent WHERE id = :id", parent=parent, id=part.id
    )
    # The part is on another snapshot, which has not all of the instances; notice was given of both.
    world.execute(
        "UPDATE deletion_requests SET dataset_id = :other, instance_count = 2 WHERE id = :p",
        other=world.ready_model(tenant).dataset_id,
        p=parent,
    )
    world.execute(
        "INSERT INTO deletion_request_items SELECT :p, hash, :t FROM unnest(:hashes) AS hash",
        p=parent,
        t=tenant.id,
        hashes=hash_instances(["p0", "p1"], tenant.id, settings),
    )
    world.execute(
        "UPDATE deletion_requests SET acknowledged_at = now(), due_at = now() + interval '90 days',"
        " extension = CAST(:notice AS jsonb)",
        notice='{"reason": "three models", "notified_at": "2026-11-20T09:00:00Z"}',
    )
    items = "SELECT * FROM deletion_request_items ORDER BY 1, 2"
    notices = "SELECT id, acknowledged_at, extension, due_at FROM deletion_requests ORDER BY id"
    known = world.rows("SELECT * FROM deletion_requests WHERE id = :id", id=parent)
    named, told = world.rows(items), world.rows(notices)
    assert Journal(app_sessions, storage).write() == 1
    world.execute("DELETE FROM deletion_request_items")
    world.execute("DELETE FROM deletion_requests WHERE id = :id", id=part.id)
    world.execute("DELETE FROM deletion_requests")
    assert reapply_journal(sessionmaker(world.engine), storage, settings).queued == 1
    assert world.rows("SELECT * FROM deletion_requests WHERE id = :id", id=parent) == known
    assert world.request(part.id).parent_id == parent
    assert (world.rows(items), world.rows(notices)) == (named, told)
    again = reapply_journal(sessionmaker(world.engine), storage, settings)
    assert (again.queued, again.noticed) == (0, 0)

    # A dump that has the requests as they were before notice was given.
    assert adopt_requests(app_sessions) == 1
    world.execute(
        "UPDATE deletion_requests SET acknowledged_at = NULL, extension = NULL, due_at = now(),"
        " alarms = '{due_soon}'"
    )
    world.execute("UPDATE jobs SET due_at = now()")
    assert reapply_journal(sessionmaker(world.engine), storage, settings).noticed == 1
    assert world.rows(notices) == told
    assert world.rows("SELECT DISTINCT alarms FROM deletion_requests") == [([],)]
    assert world.job(world.request(part.id).job_id).due_at == told[0].due_at
    audited = "SELECT count(*) FROM audit_log WHERE action = 'deletion_request.notice_reapplied'"
    assert world.value(audited) == 2
    assert reapply_journal(sessionmaker(world.engine), storage, settings).noticed == 0


def test_a_sweep_beside_the_backup_does_no_harm_and_a_version_that_is_gone_is_an_error(
    world: World,  # noqa: F811
    equipment: Equipment,  # noqa: F811
    model: RegisteredModel,  # noqa: F811
    postgres: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Objects that vanish between the listing and the copying."""
    storage = equipment.storage
    version = world.value("SELECT path FROM artifacts WHERE id = (SELECT artifact_id FROM model_versions)")
    swept = f"{model.tenant_id}/snapshot/{uuid.uuid4()}"
    vanishing = [swept]

    class Swept(ObjectStore):
        def copy_to(self, path: str, target: Path, check: Callable[[], None] | None = None) -> Written:
            for gone in vanishing:
                self.delete(gone)
            return super().copy_to(path, target, check)

    monkeypatch.setattr(backup, "ObjectStore", Swept)
    monkeypatch.setattr(backup, "get_settings", lambda: world.settings)

    def create(name: str) -> Result:
        storage.put(swept, [b"a run's"])
        arguments = ["create", str(tmp_path / name), "--programs", str(postgres.binaries)]
        return CliRunner().invoke(backup.app, arguments)

    done = create("first")
    assert done.exit_code == 0, done.output
    assert set(Storage(f"file://{tmp_path}/first/storage").list("")) >= {version}
    vanishing.append(version)
    done = create("second")
    assert done.exit_code == 1
    assert f"{version}, the bytes of a version, is gone" in done.output


def test_what_no_row_knows_after_a_restore_is_removed(
    world: World,  # noqa: F811
    equipment: Equipment,  # noqa: F811
    model: RegisteredModel,  # noqa: F811
    app_sessions: sessionmaker[Session],
) -> None:
    storage = equipment.storage
    world.job_with_request(model, instances=["p0"])
    Journal(app_sessions, storage).write()
    known = set(storage.list(""))
    unknown = f"{model.tenant_id}/checkpoint/{uuid.uuid4()}"
    storage.put(unknown, [b"made after the backup"])
    assert remove_unknown_objects(sessionmaker(world.engine), storage).removed == [unknown]
    assert set(storage.list("")) == known
    assert remove_unknown_objects(sessionmaker(world.engine), storage).removed == []


def test_damage_is_found(
    world: World,  # noqa: F811
    equipment: Equipment,  # noqa: F811
    model: RegisteredModel,  # noqa: F811
) -> None:
    path = world.value("SELECT path FROM artifacts WHERE id = (SELECT artifact_id FROM model_versions)")
    equipment.storage.put(path, [b"something else"])
    [line] = damaged_versions(sessionmaker(world.engine), equipment.storage)
    assert "Version" not in line.split()[0] or "damaged" in line
    equipment.storage.delete(path)
    [line] = damaged_versions(sessionmaker(world.engine), equipment.storage)
    assert "no bytes" in line


def test_a_dump_that_fails_says_why(tmp_path: Path, postgres: PostgresServer) -> None:
    with pytest.raises(DumpFailed, match="cannot be reached"):
        dump("postgresql://nobody@127.0.0.1:1/nothing", tmp_path / "dump", postgres.binaries)
