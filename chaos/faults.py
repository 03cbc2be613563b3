"""What is done to a service: one function per kind. Each returns when the fault is over."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from random import Random

import psutil
import psycopg
import redis
from celery import Celery

from app.core.failpoints import FAILPOINTS
from app.core.queue import QUEUE, send_wake
from chaos.damage import NotStruck, flipped, read_only
from chaos.freezing import frozen, frozen_postgres, signal_all
from chaos.processes import Program
from chaos.service import LEASE_SECONDS, REPLY_SECONDS, Service
from chaos.stream import Stream

PAST_THE_LEASE = 1.4 * LEASE_SECONDS
PAST_THE_TIMEOUT = 1.2 * REPLY_SECONDS
SECONDS_TO_DRAIN = 30.0
SECONDS_TO_REACH_A_FAILPOINT = 12.0
WHEN_A_LEASE_IS_LOST = ("reclaim",)
WHEN_A_MODEL_COMES = ("upload", "validation")

Fault = Callable[[Service, Stream, Random], None]


def kill_worker(service: Service, stream: Stream, random: Random) -> None:
    random.choice(service.workers).signal(signal.SIGKILL)


def kill_child(service: Service, stream: Stream, random: Random) -> None:
    signal_all(_a_busy_worker(service, random).children(), signal.SIGKILL)


def kill_all_workers(service: Service, stream: Stream, random: Random) -> None:
    for worker in service.workers:
        worker.signal(signal.SIGKILL)


def kill_api(service: Service, stream: Stream, random: Random) -> None:
    service.api.signal(signal.SIGKILL)


def kill_relay(service: Service, stream: Stream, random: Random) -> None:
    service.relay.signal(signal.SIGKILL)


def stop_worker_past_its_lease(service: Service, stream: Stream, random: Random) -> None:
    """And let it go on: by then the job is somebody else's."""
    with frozen(_a_busy_worker(service, random).tree()):
        time.sleep(PAST_THE_LEASE)


def stop_relay(service: Service, stream: Stream, random: Random) -> None:
    with frozen(service.relay.tree()):
        time.sleep(PAST_THE_LEASE)


def drain_worker(service: Service, stream: Stream, random: Random) -> None:
    """A deploy. It must end by itself, and with success."""
    worker = _a_busy_worker(service, random)
    worker.signal(signal.SIGTERM)
    if worker.wait(SECONDS_TO_DRAIN) != 0:
        raise AssertionError("a worker that was asked to end did not do so cleanly")


def flush_redis(service: Service, stream: Stream, random: Random) -> None:
    with _redis(service) as client:
        client.flushall()


def restart_redis(service: Service, stream: Stream, random: Random) -> None:
    service.redis.stop()
    time.sleep(random.uniform(0.2, 2.0))
    service.redis.resume()


def repeat_and_reorder_messages(service: Service, stream: Stream, random: Random) -> None:
    """Wake-ups for jobs, most of them long done; and then all that is in the queue, thrice and shuffled."""
    jobs = [job for (job,) in service.rows("SELECT id FROM jobs ORDER BY random() LIMIT 12")]
    sender = Celery("chaos", broker=service.redis.url)
    for job in jobs:
        send_wake(sender, job)
    sender.close()
    with _redis(service) as client:
        waiting = client.lrange(QUEUE, 0, -1)
        again = [*waiting, *waiting, *waiting]
        random.shuffle(again)
        with client.pipeline() as both:
            both.delete(QUEUE)
            if again:
                both.rpush(QUEUE, *again)
            both.execute()


def restart_postgres(service: Service, stream: Stream, random: Random) -> None:
    service.postgres.stop()
    time.sleep(random.uniform(0.1, 1.0))
    _resume_postgres(service)


def crash_postgres(service: Service, stream: Stream, random: Random) -> None:
    service.postgres.process.kill()
    service.postgres.process.wait()
    _resume_postgres(service)


def freeze_postgres(service: Service, stream: Stream, random: Random) -> None:
    """Until nobody waits for it any more. Then it goes on with what it had been told, commits among it."""
    with frozen_postgres(service.postgres):
        time.sleep(PAST_THE_TIMEOUT)


def cut_connections(service: Service, stream: Stream, random: Random) -> None:
    service.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'lethe-%' AND pid <> pg_backend_pid()"
    )


def limit_file_size(service: Service, stream: Stream, random: Random) -> None:
    """Every write of the workers fails half way, as on a disk that is full."""
    for worker in service.workers:
        for process in worker.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.rlimit(psutil.RLIMIT_FSIZE, (2048, psutil.RLIM_INFINITY))
    time.sleep(random.uniform(1.0, 2.0))
    for worker in service.workers:
        for process in worker.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))


def read_only_storage(service: Service, stream: Stream, random: Random) -> None:
    folders = [service.storage, *(path for path in service.storage.rglob("*") if path.is_dir())]
    with read_only(folders):
        time.sleep(random.uniform(1.0, 2.0))


def flip_a_bit(service: Service, stream: Stream, random: Random) -> None:
    """In the head of a model that nobody else uses: its job must fail with the reason, and the head stay."""
    caller = stream.victim.caller
    model = stream.victim.name
    [(head, path)] = service.rows(
        "SELECT v.id, a.path FROM registered_models m JOIN model_versions v ON v.id = m.head_version_id"
        " JOIN artifacts a ON a.id = v.artifact_id WHERE m.name = :name",
        name=model,
    )
    file = service.storage / path
    with flipped(file, random.randrange(file.stat().st_size)):
        body = {"model": model, "instances": [stream.another_victim()], "tasks": "all"}
        request = caller.call("POST", "/v1/deletion-requests", json=body).json()["id"]
        stream.accepted.requests.append(request)
        seen = {"status": "queued"}
        deadline = time.monotonic() + 60
        while seen["status"] in ("queued", "running") and time.monotonic() < deadline:
            seen = caller.call("GET", f"/v1/deletion-requests/{request}").json()
            time.sleep(0.05)
    if (seen["status"], seen["error_code"]) != ("failed", "checkpoint_damaged"):
        raise AssertionError(f"a flipped bit went unnoticed: {seen['status']}, {seen['error_code']}")
    now = service.value("SELECT head_version_id FROM registered_models WHERE name = :name", name=model)
    if now != head:
        raise AssertionError("a damaged head was replaced")


def crash_at(place: str) -> Fault:
    """The process that comes by there next dies there."""

    def crash(service: Service, stream: Stream, random: Random) -> None:
        armed = service.failpoints / place
        armed.touch()
        beforehand = service.failpoints / "checkpoint.after-put"
        if place.startswith("checkpoint.") and place.endswith("-delete"):
            beforehand.touch()  # so that there is one to delete
        unit = place.split(".")[0]
        if unit in WHEN_A_MODEL_COMES:
            stream.register_another()
        if unit in WHEN_A_LEASE_IS_LOST:
            with contextlib.suppress(NotStruck):
                kill_child(service, stream, random)
        deadline = time.monotonic() + SECONDS_TO_REACH_A_FAILPOINT
        while armed.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        beforehand.unlink(missing_ok=True)  # another was there to delete, and the fault is over
        if armed.exists():
            armed.unlink(missing_ok=True)
            raise NotStruck(f"nobody came by {place}")

    return crash


KINDS: dict[str, Fault] = {
    function.__name__.replace("_", " "): function
    for function in (
        kill_worker,
        kill_child,
        kill_all_workers,
        kill_api,
        kill_relay,
        stop_worker_past_its_lease,
        stop_relay,
        drain_worker,
        flush_redis,
        restart_redis,
        repeat_and_reorder_messages,
        restart_postgres,
        crash_postgres,
        freeze_postgres,
        cut_connections,
        limit_file_size,
        read_only_storage,
        flip_a_bit,
    )
} | {f"crash at {place}": crash_at(place) for place in FAILPOINTS}


def drawn(random: Random) -> Iterator[str]:
    """Kinds without end: half of them what happens to processes and servers, half crashes at failpoints, each
    half in shuffled rounds, so that every kind comes up."""
    halves = [
        [kind for kind in KINDS if not kind.startswith("crash at")],
        [kind for kind in KINDS if kind.startswith("crash at")],
    ]
    bags: list[list[str]] = [[], []]
    while True:
        for half, bag in zip(halves, bags, strict=True):
            if not bag:
                bag.extend(random.sample(half, len(half)))
            yield bag.pop()


def _a_busy_worker(service: Service, random: Random) -> Program:
    """One that holds a job at this moment, if any does within a while."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        holders = [
            holder.split("-")[-2]
            for (holder,) in service.rows("SELECT lease_holder FROM jobs WHERE status = 'running'")
        ]
        busy = [
            worker
            for worker in service.workers
            if worker.tree() and str(worker.tree()[0].pid) in holders and worker.children()
        ]
        if busy:
            return random.choice(busy)
        time.sleep(0.02)
    raise NotStruck("no worker was busy")


@contextlib.contextmanager
def _redis(service: Service) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(service.redis.url, socket_timeout=5) as client:
        yield client


def _resume_postgres(service: Service) -> None:
    service.postgres.resume()
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        try:
            with service.postgres.connect():
                return
        except psycopg.OperationalError:
            time.sleep(0.02)
    raise AssertionError("PostgreSQL did not come back")
