"""PostgreSQL, Redis, API, relay and workers, as one thing that starts and stops."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from app.standalone.data_folder import DataFolder
from app.standalone.environment import (
    deployment_environment,
    of_a_worker,
    of_the_api,
    of_the_relay,
    write_for_the_shell,
)
from app.standalone.first_start import (
    handed_out_at,
    migrate,
    prepare_database,
    provide_tenant,
    record_handing_out,
)
from app.standalone.folder_lock import FolderLock
from app.standalone.guarded_process import GuardedProcess
from app.standalone.keys import Keys
from app.standalone.ports import LOOPBACK, free_port, refusal
from app.standalone.postgres import PostgresServer
from app.standalone.programs import Programs
from app.standalone.readiness import reachable, wait_until_ready
from app.standalone.redis import RedisServer
from app.standalone.refusals import StandaloneError
from app.standalone.supervisor import Service, Supervisor


def _say_nothing(sentence: str) -> None:
    """What a caller wants who reads the logs."""


class EmbeddedDeployment:
    """A whole Lethe in `data_dir`, running between `start` and `stop`; as a context manager, inside it.

    Whatever kills this process, all that it started ends within seconds.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        workers: int = 1,
        allowed_roots: Sequence[Path] = (),
        postgres_binaries: Path | None = None,
        durable: bool = True,
        programs: Programs | None = None,
        say: Callable[[str], None] = _say_nothing,
    ) -> None:
        """`port` 0 takes any free one. `allowed_roots` are folders which the first tenant may name in URLs,
        besides `data_dir`/data. `durable` as in PostgresServer. `say` is told of everything that happens
        afterwards, a sentence at a time, from another thread.
        """
        self.folder = DataFolder(data_dir)
        self.environment: dict[str, str] = {}
        """The settings as environment variables, the owner's URL included; empty before the start."""
        self.api_key: str | None = None
        """Of all scopes, and only on the first start: afterwards nobody knows it but who was given it."""
        self._host = host
        self._port = port
        self._workers = workers
        self._allowed_roots = (self.folder.data, *allowed_roots)
        self._postgres_binaries = postgres_binaries
        self._durable = durable
        self._programs = programs or Programs()
        self._lock = FolderLock(self.folder.lock)
        self._supervisor = Supervisor(say)

    @property
    def url(self) -> str:
        """Of the API, as this machine reaches it."""
        host = reachable(self._host)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def api_key_handed_out_at(self) -> str | None:
        """When the first start gave out its key (RFC 3339)."""
        return handed_out_at(self.folder)

    def start(self) -> None:
        """Return once the API is ready.

        Raises `StandaloneError`, with nothing left running.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Workers, relay, API, Redis, PostgreSQL, in this order."""
        self._supervisor.stop()
        if self._lock.descriptor >= 0:
            self.folder.environment.unlink(missing_ok=True)
            self._lock.release()

    def hurry(self) -> None:
        """Cut short a `stop` that is under way in the interrupted code."""
        self._supervisor.hurry()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        """First whatever can be refused at once, then the servers, then what needs them."""
        self.folder.make()
        self._lock.acquire()
        self._claim_port()
        keys = Keys.kept_in(self.folder)
        postgres, redis = self._start_servers()
        prepare_database(postgres, keys)
        self.environment = deployment_environment(self.folder, keys, postgres, redis.url, self.url)
        write_for_the_shell(self.folder, self.environment)
        migrate(self._programs, self.environment)
        self.api_key = provide_tenant(
            self.environment["LETHE_DATABASE_URL"],
            [f"file://{quote(str(root.absolute()))}" for root in self._allowed_roots],
            with_key=self.api_key_handed_out_at is None,
        )
        self._start_services()
        wait_until_ready(self._host, self._port, self._supervisor.ended)
        if self.api_key is not None:
            record_handing_out(self.folder)
        self._supervisor.watch()

    def _claim_port(self) -> None:
        if self._port == 0:
            self._port = free_port(self._host)
        reason = refusal(self._host, self._port)
        if reason is not None:
            raise StandaloneError(
                f"Port {self._port} of {self._host} can't be used ({reason}): choose another one with --port."
            )

    def _start_servers(self) -> tuple[PostgresServer, RedisServer]:
        held_open = [self._lock.descriptor]
        postgres = PostgresServer(
            self.folder.postgres,
            durable=self._durable,
            binaries=self._postgres_binaries,
            log=self.folder.logs / "postgres.log",
            held_open=held_open,
        )
        redis = RedisServer(self.folder.redis, log=self.folder.logs / "redis.log", held_open=held_open)
        for server in (postgres, redis):
            server.start()
            self._supervisor.add(server)
        return postgres, redis

    def _start_services(self) -> None:
        programs, logs = self._programs, self.folder.logs
        api, worker = of_the_api(self.environment), of_a_worker(self.environment)
        groups = (
            [programs.api_command(self._host, self._port, logs, api)],
            [programs.relay_command(logs, of_the_relay(self.environment))],
            [programs.worker_command(number, logs, worker) for number in range(1, self._workers + 1)],
        )
        for group in groups:
            services = [Service(GuardedProcess(each, held_open=[self._lock.descriptor])) for each in group]
            self._supervisor.add(*services)
            for service in services:
                service.resume()
