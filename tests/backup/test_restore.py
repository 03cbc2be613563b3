"""A database that comes back from a backup asks again for what was asked since."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session, sessionmaker

from app.backup.checking import damaged_versions
from app.backup.copying import copy_objects
from app.backup.dumping import DumpFailed, dump, load
from app.backup.reapplying import reapply_journal
from app.core.database import sync_engine
from app.core.settings import Settings
from app.core.storage import Storage
from app.relay.adoption import adopt_requests
from app.relay.journal import Journal
from app.standalone.postgres import PostgresServer
from models import RegisteredModel
from tests.database import Database
from tests.worker.conftest import equipment, model, tiny, world  # noqa: F401 (fixtures)
from tests.worker.world import World
from worker.equipment import Equipment, equip, put_away
from worker.run import run_next


@pytest.fixture
def app_sessions(settings: Settings) -> Iterator[sessionmaker[Session]]:
    engine = sync_engine(settings, settings.database_url.get_secret_value(), "lethe-relay")
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
    with pytest.raises(DumpFailed, match="pg_dump ended"):
        dump("postgresql://nobody@127.0.0.1:1/nothing", tmp_path / "dump", postgres.binaries)
