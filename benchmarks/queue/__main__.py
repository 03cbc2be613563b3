"""Run all measurements and write them down."""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.core.database import relay_url
from app.standalone.redis import RedisServer
from benchmarks.http import checkpoints, requests
from benchmarks.http.stage import Stage, stage
from benchmarks.queue import long_queue, throughput
from benchmarks.queue.reporting import report

PARTS = ("long_queue", "throughput", "http", "checkpoint")
RESULTS = Path(__file__).parent.parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue")
    parser.add_argument("--jobs", type=int, default=400, help="per number of workers")
    parser.add_argument("--tasks", type=int, default=2000, help="of plain Celery, per number of workers")
    parser.add_argument("--mebibytes", type=int, default=2048, help="of the checkpoint")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure anew")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    result: dict = {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load_average_before": round(os.getloadavg()[0], 1),
        }
    }
    written = arguments.results / "queue.json"
    if len(arguments.parts) < len(PARTS) and written.exists():
        result = json.loads(written.read_text())
    for part in arguments.parts:
        with _stage() as (ready, folder):
            result[part] = _measure(part, ready, folder, arguments)
        _write(arguments.results, result)
    print(report(result))
    return 0


def _measure(part: str, ready: Stage, folder: Path, arguments: argparse.Namespace) -> Any:
    if part == "long_queue":
        load = round(os.getloadavg()[0], 1)
        return {"load_average_before": load} | long_queue.measure(ready, ready.world.settings)
    if part == "http":
        requests.CONNECTIONS = (32,)
        return requests.measure(ready, 3)
    if part == "checkpoint":
        return checkpoints.measure(ready, folder, arguments.mebibytes, 1)
    with RedisServer(folder / "redis-of-workers") as redis:
        environment = _environment(ready, redis.url)
        return throughput.measure(ready, environment, folder, arguments.jobs, arguments.tasks)


def _write(folder: Path, result: dict) -> None:
    """After every part, so that a run that is cut short leaves what it has."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "queue.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "queue.md").write_text(report(result))


@contextmanager
def _stage() -> Iterator[tuple[Stage, Path]]:
    """A stage in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="lethe-queue-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with stage(folder) as ready:
            yield ready, folder


def _environment(ready: Stage, broker: str) -> dict[str, str]:
    settings = ready.world.settings
    return {
        "LETHE_DATABASE_URL": settings.database_url.get_secret_value(),
        "LETHE_RELAY_DATABASE_URL": relay_url(settings),
        "LETHE_WORKER_DATABASE_URL": settings.worker_database_url.get_secret_value(),
        "LETHE_BROKER_URL": broker,
        "LETHE_STORAGE_URL": settings.storage_url,
        "LETHE_HASH_KEY": settings.hash_key.get_secret_value(),
        "LETHE_LOG_LEVEL": "WARNING",
        "LETHE_DEVICE": "cpu",
    }


if __name__ == "__main__":
    sys.exit(main())
