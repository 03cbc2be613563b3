"""What the embedded deployment runs on top of its two servers."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.standalone.guarded_process import Command

SECONDS_FOR_OPEN_REQUESTS = 5
SECONDS_FOR_A_RUNNING_JOB = 30.0
"""What a worker gets to hand its job back; another attempt takes up what it could not finish."""


@dataclass(frozen=True)
class Programs:
    """Arguments for this Python interpreter; the tests put stand-ins in their place."""

    migrations: Sequence[str] = ("-m", "migrations")
    api: Sequence[str] = ("-m", "uvicorn", "app.main:create_app", "--factory")
    relay: Sequence[str] = ("-m", "app.relay")
    worker: Sequence[str] = ("-m", "celery", "-A", "worker.main", "worker")

    def api_command(self, host: str, port: int, logs: Path, environment: Mapping[str, str]) -> Command:
        return Command(
            name="api",
            arguments=[
                *self._interpreted(self.api),
                f"--host={host}",
                f"--port={port}",
                f"--timeout-graceful-shutdown={SECONDS_FOR_OPEN_REQUESTS}",
                "--no-access-log",
            ],
            log=logs / "api.log",
            environment=environment,
            grace=SECONDS_FOR_OPEN_REQUESTS + 5.0,
        )

    def relay_command(self, logs: Path, environment: Mapping[str, str]) -> Command:
        return Command(
            name="relay",
            arguments=self._interpreted(self.relay),
            log=logs / "relay.log",
            environment=environment,
        )

    def worker_command(self, number: int, logs: Path, environment: Mapping[str, str]) -> Command:
        """One job at a time. On SIGTERM it hands its job back (see worker.main) and ends."""
        return Command(
            name=f"worker{number}",
            arguments=[
                *self._interpreted(self.worker),
                "--concurrency=1",
                "--loglevel=INFO",
                f"--hostname=worker{number}@%h",
            ],
            log=logs / f"worker{number}.log",
            environment=environment,
            grace=SECONDS_FOR_A_RUNNING_JOB,
        )

    def migrations_arguments(self) -> list[str]:
        return self._interpreted(self.migrations)

    def _interpreted(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, *arguments]
