"""PostgreSQL, a model to delete from, and the servers that are compared."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from sqlalchemy import create_engine, text

from app.auth.keys import hash_secret
from app.core.settings import Settings
from app.standalone.postgres import PostgresServer
from app.standalone.redis import RedisServer
from tests.app.world import World
from tests.database import Database, build_template, temporary_database

INSTANCES = 250_000


@dataclass(frozen=True)
class Stage:
    world: World
    key: str
    api: "Server"
    bare: "Server"


@dataclass(frozen=True)
class Server:
    port: int
    process: "subprocess.Popen[bytes]"


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    with PostgresServer(folder / "postgres") as postgres, RedisServer(folder / "redis") as redis:
        build_template(postgres.superuser_url)
        with temporary_database(postgres.superuser_url) as url:
            yield from _on(folder, Database(url), redis.url)


def _on(folder: Path, database: Database, redis_url: str) -> Iterator[Stage]:
    environment = {
        "LETHE_DATABASE_URL": database.app_url,
        "LETHE_RELAY_DATABASE_URL": database.relay_url,
        "LETHE_WORKER_DATABASE_URL": database.worker_url,
        "LETHE_BROKER_URL": redis_url,
        # Calls are counted as always, and never too many.
        **{f"LETHE_RATE_LIMIT_{who}": "1000000000" for who in ("READS", "WRITES", "STRANGERS")},
        "LETHE_STORAGE_URL": f"file://{folder}/storage",
        "LETHE_HASH_KEY": "00112233445566778899aabbccddeeff" * 2,
    }
    settings = Settings(**{name.removeprefix("LETHE_").lower(): value for name, value in environment.items()})
    engine = create_engine(database.owner_url)
    world = World(engine, settings)
    world.ready_dataset(instances=INSTANCES)
    world.ready_model()
    key = world.key("acme", "admin")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    environment["BENCHMARK_GIVEN"] = json.dumps(_given(world, key))
    with (
        _serve(folder, "app.main:create_app", environment) as api,
        _serve(folder, "benchmarks.http.bare:create_app", environment) as bare,
    ):
        yield Stage(world, key, api, bare)
    engine.dispose()


def settle(world: World) -> None:
    """Every measurement begins with an empty queue."""
    world.run("UPDATE deletion_requests SET status = 'cancelled' WHERE status = 'queued'")
    world.run("UPDATE jobs SET status = 'cancelled', accepts_requests = false WHERE status = 'queued'")
    with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE deletion_requests"))
        connection.execute(text("CHECKPOINT"))


def _given(world: World, key: str) -> dict[str, str]:
    names = [f"scan-{i}" for i in range(10)]
    return {
        "tenant_id": str(world.tenant()),
        "dataset_id": str(world.run("SELECT id FROM datasets")),
        "model_id": str(world.run("SELECT id FROM registered_models")),
        "api_key_id": str(world.run("SELECT id FROM api_keys")),
        "public_id": key.split("_")[1],
        "secret_sha256": hash_secret(key.split("_")[2]).hex(),
        "packed": base64.b64encode(b"".join(world.hashes("acme", names))).decode(),
    }


@contextmanager
def _serve(folder: Path, factory: str, environment: dict[str, str]) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / f"{factory.split(':')[0]}.log").open("wb")
    command = [sys.executable, "-m", "uvicorn", "--factory", factory, "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--no-access-log", "--log-level", "warning"], env=os.environ | environment, stderr=log
    )
    try:
        _await(port, process)
        yield Server(port, process)
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "a server did not start"
        try:
            with urlopen(f"http://127.0.0.1:{port}/openapi.json") as answer:
                answer.read()
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("a server did not answer")
