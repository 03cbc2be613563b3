"""Jobs per second from the outbox to the settlement, at some numbers of workers, beside plain Celery."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from celery import Celery

from app.core.queue import QUEUE
from benchmarks.http.stage import Stage
from benchmarks.queue.backlog import COUNTER, make_models, queue_jobs, wake_all

WORKERS = (1, 4, 16)
MODELS = 100
SECONDS_TO_START = 300.0


def measure(stage: Stage, environment: dict[str, str], folder: Path, jobs: int, tasks: int) -> list[dict]:
    """One row per number of workers. The same worker processes serve both."""
    make_models(stage, MODELS)
    broker = environment["LETHE_BROKER_URL"]
    rows = []
    with _running(["-m", "app.relay"], environment, folder / "relay.log"):
        for workers in WORKERS:
            command = ["-m", "celery", "-A", "benchmarks.queue.noop_worker", "worker", f"-c{workers}"]
            with _running([*command, "--loglevel=WARNING"], environment, folder / f"workers-{workers}.log"):
                _jobs_per_second(stage, MODELS * 1)  # until all children are up and have their connections
                _tasks_per_second(broker, 20 * workers)
                rows.append(
                    {
                        "workers": workers,
                        "jobs_per_second": _jobs_per_second(stage, jobs),
                        "celery_per_second": _tasks_per_second(broker, tasks),
                    }
                )
    return rows


def _jobs_per_second(stage: Stage, jobs: int) -> float:
    queue_jobs(stage, jobs // MODELS, 1)
    started = time.perf_counter()
    count = wake_all(stage)
    _await(lambda: stage.world.run("SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')") == 0)
    return count / (time.perf_counter() - started)


def _tasks_per_second(broker: str, tasks: int) -> float:
    sender = Celery("benchmark", broker=broker)
    with redis.Redis.from_url(broker) as client:
        client.delete(COUNTER)
        started = time.perf_counter()
        for _ in range(tasks):
            sender.send_task("benchmark.count", queue=QUEUE, ignore_result=True)
        _await(lambda: int(client.get(COUNTER) or 0) >= tasks)  # type: ignore[arg-type]
        seconds = time.perf_counter() - started
    sender.close()
    return tasks / seconds


def _await(done: object) -> None:
    assert callable(done)
    deadline = time.monotonic() + SECONDS_TO_START
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("the workers did not get through")
        time.sleep(0.01)


@contextmanager
def _running(arguments: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
