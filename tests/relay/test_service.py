"""The relay as a process: it hears of new work, survives lost connections, and ends at once."""

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import event

from app.core.settings import Settings
from app.core.storage import Storage
from app.relay import service
from app.relay.service import Relay
from app.standalone.redis import RedisServer
from tests.relay.test_dispatch import woken
from tests.worker.processes import RELAY, process, wait_until
from tests.worker.world import World


@pytest.fixture
def seldom(settings: Settings, redis_server: RedisServer) -> Settings:
    """Sweeps are rare: what happens soon is because of a notification."""
    return Settings(**settings.model_dump() | {"broker_url": redis_server.url, "sweep_seconds": 3600})


def test_it_sends_what_it_is_told_of_and_ends_on_sigterm(
    world: World, seldom: Settings, broker: Celery, tmp_path: Path
) -> None:
    model = world.ready_model(world.tenant())
    before = world.open_job(model)
    with process(RELAY, seldom, tmp_path / "relay.log") as relay:
        wait_until(lambda: woken(broker) == [str(before.id)])
        after = world.open_job(model)
        wait_until(lambda: woken(broker)[1:] == [str(after.id)])
        start = time.monotonic()
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(timeout=10) == 0
        assert time.monotonic() - start < 5


def test_it_listens_again_after_its_connections_were_cut(
    world: World, settings: Settings, redis_server: RedisServer, broker: Celery, tmp_path: Path
) -> None:
    model = world.ready_model(world.tenant())
    live = Settings(**settings.model_dump() | {"broker_url": redis_server.url})
    listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lethe-relay-listener'"
    with process(RELAY, live, tmp_path / "relay.log") as relay:
        wait_until(lambda: world.value(listening))
        world.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'lethe-relay%'"
        )
        job = world.open_job(model)
        wait_until(lambda: woken(broker) == [str(job.id)])
        wait_until(lambda: world.value(listening))
        assert relay.poll() is None


def test_a_storage_that_hangs_keeps_no_lease_from_being_reclaimed(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = world.job_with_request(world.ready_model(world.tenant()))
    orphan = "INSERT INTO artifacts (id, tenant_id, kind, path, created_at) VALUES (gen_random_uuid(), :t,"
    world.execute(orphan + " 'checkpoint', 'lost', now() - interval '2 days')", t=job.tenant_id)
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(storage: Storage, path: str) -> None:
        hangs.set()
        goes_on.wait(60)

    monkeypatch.setattr(Storage, "delete", hang)
    relay = Relay(settings)
    sweep = relay.sweep

    def sweep_until_reclaimed() -> None:
        assert hangs.wait(60)
        world.execute(
            "UPDATE jobs SET status = 'running', fence = 1, attempt = 1, "
            " lease_expires_at = now() - interval '1 second' WHERE status = 'queued'"
        )
        world.execute("UPDATE deletion_requests SET status = 'running'")
        sweep()
        goes_on.set()
        raise InterruptedError("that is enough")

    monkeypatch.setattr(relay, "sweep", sweep_until_reclaimed)
    with pytest.raises(InterruptedError):
        relay.run()
    assert world.job(job.id).status == "queued"
    assert hangs.is_set()


def test_a_relay_that_ends_while_its_storage_hangs_leaves_no_connection_behind(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread in the middle of something is waited for a moment only; it closes what it used by itself."""
    tenant = world.tenant()
    world.execute(
        "INSERT INTO artifacts (id, tenant_id, kind, path, created_at)"
        " VALUES (gen_random_uuid(), :t, 'checkpoint', 'lost', now() - interval '2 days')",
        t=tenant.id,
    )
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(storage: Storage, path: str) -> None:
        hangs.set()
        goes_on.wait(60)

    def end() -> None:
        assert hangs.wait(60)
        raise InterruptedError

    monkeypatch.setattr(Storage, "delete", hang)
    monkeypatch.setattr(service, "SECONDS_TO_END", 0.1)
    relay = Relay(settings)
    opened: list[Any] = []
    event.listen(relay.engine, "connect", lambda connection, record: opened.append(connection))
    monkeypatch.setattr(relay, "sweep", end)
    with pytest.raises(InterruptedError):
        relay.run()
    goes_on.set()
    wait_until(lambda: not any(thread.name == "records" for thread in threading.enumerate()))
    assert opened
    assert all(connection.closed for connection in opened)
