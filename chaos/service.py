"""PostgreSQL, Redis, API, relay and workers, with leases short enough for faults to show."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session

from app.core.database import SECONDS_TO_SAY_SO
from app.operator_keys import create_key
from app.operator_tenants import create_tenant
from app.standalone.ports import free_port
from app.standalone.postgres import PostgresServer
from app.standalone.redis import RedisServer
from chaos.processes import Keeper, Program
from tests.database import Database, build_template, temporary_database
from tests.webhooks.receiver import Receiver

WORKERS = 2
LEASE_SECONDS = 5.0
"""About what a worker takes to start on two cores, most of it torch's imports. Of a shorter lease three would
hold the deaths of workers to less than a new one needs."""
STATEMENT_SECONDS = 4.0
REPLY_SECONDS = STATEMENT_SECONDS + SECONDS_TO_SAY_SO
"""How long the service's programs wait for a PostgreSQL that says nothing."""
SETTINGS = {
    "LETHE_LEASE_SECONDS": str(LEASE_SECONDS),
    "LETHE_SWEEP_SECONDS": "0.3",
    "LETHE_STATEMENT_TIMEOUT_SECONDS": str(STATEMENT_SECONDS),
    "LETHE_SNAPSHOT_SECONDS": "0.05",
    "LETHE_ORPHAN_SECONDS": "2",
    "LETHE_UPLOAD_SECONDS": "8",
    "LETHE_MAX_ATTEMPTS": "12",
    "LETHE_DEVICE": "cpu",
    "LETHE_AUDIT_CHECKPOINT_SECONDS": "1",
    "LETHE_SIGNING_KEY": "8899aabbccddeeff0011223344556677" * 2,
    "LETHE_WEBHOOK_KEY": "ccddeeff001122334455667788990011" * 2,
    "LETHE_WEBHOOK_TOTAL_SECONDS": "2",
    "LETHE_HASH_KEY": "00112233445566778899aabbccddeeff" * 2,
    # Small data sets, of which the stream takes much, and faster than any client should.
    "LETHE_APPROVAL_SHARE": "1",
    "LETHE_APPROVAL_WINDOW_SHARE": "1",
    "LETHE_RATE_LIMIT_READS": "0",
    "LETHE_RATE_LIMIT_WRITES": "0",
    "LETHE_RATE_LIMIT_STRANGERS": "0",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


@dataclass(frozen=True)
class Service:
    """A running service. `owner` reads and arranges as the database's owner; nothing else does."""

    folder: Path
    url: str
    postgres: PostgresServer
    redis: RedisServer
    owner: Engine
    api: Program
    relay: Program
    workers: tuple[Program, ...]
    environment: dict[str, str]
    receiver: Receiver

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    @property
    def failpoints(self) -> Path:
        return self.folder / "failpoints"

    def rows(self, query: str, **values: Any) -> list[Any]:
        with self.owner.begin() as connection:
            return list(connection.execute(text(query), values))

    def value(self, query: str, **values: Any) -> Any:
        with self.owner.begin() as connection:
            return connection.execute(text(query), values).scalar()

    def tenant(self, name: str, root: Path) -> str:
        """A key of all scopes of a new tenant that may name URLs below `root`."""
        engine = create_engine(self.environment["LETHE_DATABASE_URL"])
        with Session(engine) as session, session.begin():
            create_tenant(session, name, [f"file://{root}"])
            key = create_key(session, name, "chaos", ["admin"]).text
        engine.dispose()
        return key

    def wait_until_ready(self, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                with urlopen(f"{self.url}/readyz", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("the API did not become ready")


@contextmanager
def serving(folder: Path, workers: int = WORKERS) -> Iterator[Service]:
    """All of it on an empty database, gone at the end."""
    for name in ("storage", "failpoints", "logs"):
        (folder / name).mkdir()
    with (
        PostgresServer(folder / "postgres") as postgres,
        RedisServer(folder / "redis") as redis,
    ):
        build_template(postgres.superuser_url)
        with temporary_database(postgres.superuser_url) as url, Receiver() as receiver:
            yield from _on(folder, Database(url), postgres, redis, workers, receiver)


def _on(
    folder: Path,
    database: Database,
    postgres: PostgresServer,
    redis: RedisServer,
    workers: int,
    receiver: Receiver,
) -> Iterator[Service]:
    port = free_port()
    common = SETTINGS | {
        "LETHE_DATABASE_URL": database.app_url,
        "LETHE_BROKER_URL": redis.url,
        "LETHE_STORAGE_URL": f"file://{folder}/storage",
        "LETHE_WEBHOOK_INNER_RECEIVERS": f"127.0.0.1:{receiver.port}",
        "LETHE_CACHE_FOLDER": f"{folder}/cache",
        "LETHE_FAILPOINTS": f"{folder}/failpoints",
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
    }
    uvicorn = ("-m", "uvicorn", "app.main:create_app", "--factory", "--no-access-log")
    celery = ("-m", "celery", "-A", "worker.main", "worker", "--concurrency=1", "--loglevel=INFO")
    logs = folder / "logs"
    api = Program("api", [*uvicorn, f"--port={port}"], common, logs / "api.log")
    of_the_relay = common | {"LETHE_RELAY_DATABASE_URL": database.relay_url}
    relay = Program("relay", ["-m", "app.relay"], of_the_relay, logs / "relay.log")
    own = tuple(
        Program(
            f"worker{number}",
            [*celery, f"--hostname=worker{number}@%h"],
            common | {"LETHE_WORKER_DATABASE_URL": database.worker_url},
            logs / f"worker{number}.log",
        )
        for number in range(1, workers + 1)
    )
    owner = create_engine(make_url(database.owner_url), pool_pre_ping=True)
    keeper = Keeper([api, relay, *own])
    keeper.start()
    service = Service(
        folder, f"http://127.0.0.1:{port}", postgres, redis, owner, api, relay, own, common, receiver
    )
    try:
        service.wait_until_ready()
        yield service
    finally:
        keeper.stop()
        owner.dispose()
