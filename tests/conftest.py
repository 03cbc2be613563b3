"""Real servers for the tests: one PostgreSQL and one Redis per test process, of their own."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling

from app.core.settings import Settings
from app.standalone.postgres import PostgresServer
from app.standalone.redis import RedisServer
from tests.database import Database, build_template, temporary_database
from worker.jobs.run_folders import remove_left_over, run_folder

# One thread per process, these and all that the tests start: torch's threads wait by spinning, and several
# processes of two threads each on two cores are far slower than of one. Read when torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes; a container has 64 MiB of it, unless it is told otherwise


class OneDeployment(LoadGroupScheduling):
    """The acceptance tests run in one process, because each that runs some of them starts a whole deployment.

    By their ids: the mark `xdist_group` does nothing under pytest 9.2 (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        own = nodeid.startswith("tests/acceptance/test_demo.py")
        shared = nodeid.startswith("tests/acceptance/") and not own
        return "acceptance" if shared else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneDeployment | None:
    return OneDeployment(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """In memory where there is room: each database is hundreds of files, made and removed again, and a disk
    takes five times as long for them."""
    with folder_in_memory(tmp_path_factory) as folder, PostgresServer(folder, durable=False) as server:
        build_template(server.superuser_url)
        yield server


@contextmanager
def folder_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new folder, gone at the end; that of a test run which was killed goes with the next one."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        yield tmp_path_factory.mktemp("postgres")
        return
    ours = MEMORY / f"lethe-tests-{os.getuid()}"
    remove_left_over(ours)
    with run_folder(ours) as folder:
        yield folder / "postgres"


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    """A migrated database of this test's own."""
    with temporary_database(postgres.superuser_url) as url:
        yield Database(url)


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[str]:
    with temporary_database(postgres.superuser_url, "template0") as url:
        yield url


@pytest.fixture
def other_empty_database(postgres: PostgresServer) -> Iterator[str]:
    with temporary_database(postgres.superuser_url, "template0") as url:
        yield url


@pytest.fixture(scope="session")
def pg_dump(postgres: PostgresServer) -> str:
    return str(postgres.binaries / "pg_dump")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return settings_of(database, tmp_path)


def settings_of(database: Database, folder: Path) -> Settings:
    """Settings of a service on this database, whose files lie in the folder. Its broker is one that nobody
    listens at: a test that needs Redis asks for `redis_server` and copies the settings."""
    return Settings(
        database_url=database.app_url,
        relay_database_url=database.relay_url,
        worker_database_url=database.worker_url,
        owner_database_url=database.owner_url,
        broker_url="redis://127.0.0.1:1/0",
        storage_url=f"file://{folder}/storage",
        cache_folder=str(folder / "cache"),
        hash_key="00112233445566778899aabbccddeeff" * 2,
        model_signing_key="445566778899aabbccddeeff00112233" * 2,
        webhook_key="ccddeeff001122334455667788990011" * 2,
        signing_key="8899aabbccddeeff0011223344556677" * 2,
        device="cpu",
        rate_limit_reads=0,
        rate_limit_writes=0,
        rate_limit_strangers=0,
        # Data sets of twenty instances: tests of what may go without a person's word say how much.
        approval_share=1,
        approval_window_share=1,
        lease_seconds=5,
        sweep_seconds=0.2,
    )
