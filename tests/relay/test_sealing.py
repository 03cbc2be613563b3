"""The sealer: nothing is missed, nobody waits, one chain per tenant."""

import base64
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from app.audit.chain import GENESIS
from app.core.audit import audit_entry
from app.core.settings import Settings
from app.core.signing import StatementSigner, configured_signer
from app.relay import sealing
from app.relay.sealing import seal_entries, sign_checkpoints
from tests.worker.world import World

CHAIN = (
    "SELECT seal.position, entry.action, seal.previous, seal.hash FROM audit_seals seal"
    " JOIN audit_log entry ON entry.id = seal.entry_id WHERE seal.tenant_id = :tenant ORDER BY seal.position"
)


@pytest.fixture
def tenant(world: World) -> uuid.UUID:
    return world.tenant().id


@pytest.fixture
def signer(settings: Settings) -> StatementSigner:
    signer = configured_signer(settings)
    assert signer is not None
    return signer


def write(sessions: sessionmaker[Session], tenant: uuid.UUID, *actions: str, **data: Any) -> None:
    with sessions.begin() as session:
        for action in actions:
            session.execute(audit_entry(tenant, "operator", action, **data))


def actions(world: World, tenant: uuid.UUID) -> list[str]:
    return [row.action for row in world.rows(CHAIN, tenant=tenant)]


def test_a_row_that_commits_late_is_not_missed(
    world: World, sessions: sessionmaker[Session], tenant: uuid.UUID
) -> None:
    """Its id is smaller than that of rows which were sealed before it came to be seen."""
    with sessions() as slow:
        slow.execute(audit_entry(tenant, "operator", "slow"))
        write(sessions, tenant, "quick")
        assert seal_entries(sessions) == 1
        slow.commit()
    assert seal_entries(sessions) == 1
    assert actions(world, tenant) == ["quick", "slow"]
    [(slow_id,), (quick_id,)] = world.rows("SELECT id FROM audit_log ORDER BY id")
    assert slow_id < quick_id
    assert world.value("SELECT count(*) FROM audit_unsealed") == 0


def test_a_row_that_was_rolled_back_leaves_no_gap(
    world: World, sessions: sessionmaker[Session], tenant: uuid.UUID
) -> None:
    with sessions() as session:
        session.execute(audit_entry(tenant, "operator", "never"))
        session.rollback()
    write(sessions, tenant, "one", "two")
    assert seal_entries(sessions) == 2
    assert [row.position for row in world.rows(CHAIN, tenant=tenant)] == [1, 2]


def test_nothing_is_missed_while_many_write(
    world: World, sessions: sessionmaker[Session], tenant: uuid.UUID, database: Any
) -> None:
    """Eight connections whose transactions overlap, and two sealers that run all the while."""
    engine = create_engine(database.relay_url, pool_size=10)
    writers, done = sessionmaker(engine), threading.Event()

    def keep_writing(number: int) -> None:
        for turn in range(25):
            with writers() as session:
                session.execute(audit_entry(tenant, "operator", f"{number}.{turn}"))
                (session.rollback if turn % 5 == 4 else session.commit)()

    def keep_sealing(_: int) -> None:
        while not done.is_set():
            seal_entries(sessions)

    with ThreadPoolExecutor(10) as threads:
        sealers = [threads.submit(keep_sealing, number) for number in range(2)]
        for writer in [threads.submit(keep_writing, number) for number in range(8)]:
            writer.result()
        done.set()
        for sealer in sealers:
            sealer.result()
    seal_entries(sessions)
    rows = world.rows(CHAIN, tenant=tenant)
    assert [row.position for row in rows] == list(range(1, 8 * 20 + 1))
    assert len({row.action for row in rows}) == 8 * 20
    previous = GENESIS
    for row in rows:
        assert bytes(row.previous) == previous
        previous = bytes(row.hash)
    engine.dispose()


def test_no_writer_waits_for_the_sealer(sessions: sessionmaker[Session], tenant: uuid.UUID) -> None:
    """The sealer holds all that it ever holds; a writer who had to wait would give up at once."""
    write(sessions, tenant, "first")
    with sessions.begin() as session:
        assert session.scalar(sealing._ONLY_SEALER)
        assert session.execute(sealing._TAKE, {"batch": 10}).all()
        with sessions.begin() as writer:
            writer.execute(text("SET LOCAL lock_timeout = 1"))
            writer.execute(audit_entry(tenant, "operator", "second"))
        assert seal_entries(sessions) == 0  # another sealer finds that there is one, and does not wait either
    assert seal_entries(sessions) == 1


def test_batches_and_tenants(
    world: World, sessions: sessionmaker[Session], tenant: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BATCH", 2)
    other = world.tenant("other").id
    write(sessions, tenant, "a", "b", "c")
    write(sessions, other, "x")
    write(sessions, tenant, "d")
    assert seal_entries(sessions) == 5
    assert actions(world, tenant) == ["a", "b", "c", "d"]
    assert [(row.position, bytes(row.previous)) for row in world.rows(CHAIN, tenant=other)] == [(1, GENESIS)]


@pytest.mark.parametrize(
    "data",
    ['{"n": 123456789012345678901234567890}', '{"n": 1e400}', '{"n": 1' + "0" * 5000 + "}", '{"x": 0.1}'],
)
def test_no_row_can_stop_the_sealer(
    world: World, sessions: sessionmaker[Session], tenant: uuid.UUID, data: str
) -> None:
    """Numbers that canonical JSON cannot hold, and some that Python will not read."""
    world.execute(
        "INSERT INTO audit_log (tenant_id, actor, action, data)"
        " VALUES (:tenant, 'operator', 'odd', CAST(:data AS jsonb))",
        tenant=tenant,
        data=data,
    )
    write(sessions, tenant, "next")
    assert seal_entries(sessions) == 2


def test_notes_of_what_is_sealed_or_was_never_written_are_dropped(
    world: World, sessions: sessionmaker[Session], tenant: uuid.UUID, database: Any
) -> None:
    """The worker's next row is sealed all the same."""
    write(sessions, tenant, "one")
    assert seal_entries(sessions) == 1
    world.execute("INSERT INTO audit_unsealed SELECT id FROM audit_log")
    world.execute("INSERT INTO audit_unsealed SELECT max(id) + 1000 FROM audit_log")
    engine = create_engine(database.worker_url)
    write(sessionmaker(engine), tenant, "two")
    engine.dispose()
    assert seal_entries(sessions) == 1
    assert actions(world, tenant) == ["one", "two"]
    assert world.value("SELECT count(*) FROM audit_unsealed") == 0


def test_a_checkpoint_signs_the_end_of_each_chain_that_grew(
    world: World, sessions: sessionmaker[Session], tenant: uuid.UUID, signer: StatementSigner
) -> None:
    write(sessions, tenant, "one", "two")
    seal_entries(sessions)
    assert sign_checkpoints(sessions, signer, "http://lethe") == 1
    assert sign_checkpoints(sessions, signer, "http://lethe") == 0
    [(position, envelope, key_id)] = world.rows("SELECT position, envelope, key_id FROM audit_checkpoints")
    statement = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    assert position == statement["predicate"]["position"] == 2
    head = bytes(world.rows(CHAIN, tenant=tenant)[-1].hash).hex()
    assert statement["subject"] == [{"name": f"audit-log/{tenant}", "digest": {"sha256": head}}]
    assert world.rows("SELECT key_id, algorithm FROM signing_keys") == [(key_id, "ed25519")]
    # With a new key, the old one stays known.
    write(sessions, tenant, "three")
    seal_entries(sessions)
    assert sign_checkpoints(sessions, StatementSigner(bytes(32)), "http://lethe") == 1
    assert world.value("SELECT count(*) FROM signing_keys") == 2
