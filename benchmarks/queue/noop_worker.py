"""A worker whose runs do nothing (`celery -A benchmarks.queue.noop_worker worker`), and a plain task."""

import os
from functools import cache
from typing import Any

import redis
from celery import signals

from app.core import settling
from app.core.settings import get_settings
from benchmarks.queue.backlog import COUNTER
from models import JobKind
from worker.jobs.running import Running
from worker.main import app

app.conf.update(imports=("benchmarks.queue.noop_worker",))


def do_nothing(running: Running) -> None:
    """Claim, heartbeat and settlement are real; nothing is loaded, unlearned or published."""
    base = running.claim.base_version_id
    running.act(lambda session, job: settling.succeed(session, job, running.claim.actor, version_id=base))


def _take_the_engine_out(**_: Any) -> None:
    import worker.run

    worker.run.PIPELINES[JobKind.UNLEARN] = do_nothing


@cache
def _counter() -> "redis.Redis":
    return redis.Redis.from_url(get_settings().broker_url.get_secret_value())


@app.task(name="benchmark.count", ignore_result=True)
def count() -> None:
    """What a plain Celery task costs; it leaves a mark, so that somebody can see that it ran."""
    _counter().incr(COUNTER)


signals.worker_process_init.connect(_take_the_engine_out)
os.environ.setdefault("OMP_NUM_THREADS", "1")
