"""A PostgreSQL server of our own, in one folder.

It listens on loopback only, on a port chosen at each start, with passwords (SCRAM) for everybody; started
by root, it runs as somebody else (`identity.py`).
"""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from app.standalone.guarded_process import Command, GuardedProcess
from app.standalone.left_over_postgres import clear_left_over_server
from app.standalone.ports import LOOPBACK, free_port
from app.standalone.postgres_binaries import PostgresBinaries, find_postgres
from app.standalone.postgres_cluster import HERE, SUPERUSER, PostgresCluster
from app.standalone.refusals import StandaloneError

SECONDS_TO_START = 60.0
"""Generous: a start after a crash replays the log first."""
SECONDS_TO_STOP = 30.0
PORT_ATTEMPTS = 5

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "timezone": "UTC",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
"""For tests: a cluster that need not survive a crash of the machine."""


class PostgresServer:
    """A cluster in `folder` and the server on it; made on the first start, found again on later ones."""

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        binaries: Path | None = None,
        log: Path | None = None,
        held_open: Sequence[int] = (),
    ) -> None:
        """`durable=False` switches off what protects against crashes, for speed; `binaries` names the folder
        of `initdb` and `postgres` when it should not be looked for; `held_open` as in GuardedProcess.
        """
        self.folder = folder.absolute()
        self.port = 0
        self._cluster = PostgresCluster(self.folder)
        self._durable = durable
        self._explicit_binaries = None if binaries is None else binaries.absolute()
        self._binaries: PostgresBinaries | None = None
        self._log = log or self.folder / "postgres.log"
        self._held_open = held_open
        self._process: GuardedProcess | None = None

    def start(self) -> None:
        """Return once the server answers, on a port that it has not had before."""
        clear_left_over_server(self._cluster.folder)
        self._cluster.prepare_folder()
        try:
            for _ in range(PORT_ATTEMPTS):
                self.port = free_port()
                self.resume()
                if self._answers():
                    return
        except BaseException:
            self.stop()
            raise
        raise StandaloneError(f"PostgreSQL did not start: {self.process.last_words()} (log: {self._log}).")

    def resume(self) -> None:
        """Launch the server on the port it had, after it has ended by itself."""
        binaries = find_postgres(
            self._explicit_binaries, self._cluster.identity, major=self._cluster.major, folder=self.folder
        )
        if self._cluster.major is None:
            self._cluster.make(binaries, sync=self._durable)
        self._binaries = binaries
        self._process = GuardedProcess(self._command(binaries), held_open=self._held_open)
        self._process.start()

    def stop(self) -> None:
        """Fast shutdown: connections are cut, and nothing that was committed is lost."""
        if self._process is not None:
            self._process.stop()

    @property
    def process(self) -> GuardedProcess:
        """The running server, for who watches over it."""
        if self._process is None:
            raise StandaloneError(f"PostgreSQL in {self.folder} has not been started.")
        return self._process

    def url(self, user: str, password: str, database: str) -> str:
        """The SQLAlchemy URL by which `user` reaches `database`."""
        return (
            f"postgresql+psycopg://{quote(user, '')}:{quote(password, '')}@{LOOPBACK}:{self.port}/{database}"
        )

    @property
    def superuser_url(self) -> str:
        """Of the maintenance database."""
        return self.url(SUPERUSER, self._cluster.password, SUPERUSER)

    @property
    def binaries(self) -> Path:
        """The folder of the installation's programs, for `pg_dump` and the like."""
        if self._binaries is None:
            raise StandaloneError(f"PostgreSQL in {self.folder} has not been started.")
        return self._binaries.installation

    @contextmanager
    def connect(self, database: str = SUPERUSER) -> Iterator[psycopg.Connection]:
        """A superuser's connection; each statement is its own transaction."""
        with psycopg.connect(self._conninfo(database), autocommit=True) as connection:
            yield connection

    def create_database(self, name: str, *, template: str | None = None, owner: str | None = None) -> None:
        """Create a database; `template` names one to copy, which nobody may be connected to."""
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if owner is not None:
            statement += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with self.connect() as connection:
            connection.execute(statement)

    def drop_database(self, name: str) -> None:
        """Drop a database if it is there, and cut its connections."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _conninfo(self, database: str) -> str:
        return psycopg.conninfo.make_conninfo(
            host=LOOPBACK,
            port=self.port,
            user=SUPERUSER,
            password=self._cluster.password,
            dbname=database,
            connect_timeout=5,
        )

    def _command(self, binaries: PostgresBinaries) -> Command:
        settings = {**SETTINGS, **({} if self._durable else NOT_DURABLE), "port": str(self.port)}
        return Command(
            name="postgres",
            arguments=[
                str(binaries.folder / "postgres"),
                "-D",
                HERE,
                *(f"--{name}={value}" for name, value in settings.items()),
            ],
            log=self._log,
            directory=self._cluster.folder,
            stop_signal=signal.SIGINT,
            grace=SECONDS_TO_STOP,
            identity=self._cluster.identity,
            remove_at_end=binaries.staged,
        )

    def _answers(self) -> bool:
        """Wait for the server's first answer; False when it ended instead (the port was taken meanwhile)."""
        deadline = time.monotonic() + SECONDS_TO_START
        while self.process.running:
            try:
                with self.connect():
                    return True
            except psycopg.OperationalError:
                time.sleep(0.02)
            if time.monotonic() > deadline:
                self.stop()
        return False
