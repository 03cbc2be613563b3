"""A real relay and a real Celery worker, spawned child included, on a real broker."""

import signal
from pathlib import Path

import pytest

from app.core.settings import Settings
from app.standalone.redis import RedisServer
from models import RegisteredModel
from tests.worker.processes import RELAY, WORKER, kill_child, process, wait_until
from tests.worker.world import World

ENDLESS, SHORT = 1_000_000, 4


@pytest.fixture
def live(settings: Settings, redis_server: RedisServer) -> Settings:
    """The settings of a service whose broker is there, and whose leases are short; not so short that a
    busy machine's worker loses one."""
    return Settings(
        **settings.model_dump() | {"broker_url": redis_server.url, "lease_seconds": 4, "log_format": "json"}
    )


def epochs(world: World, count: int) -> None:
    world.execute("UPDATE registered_models SET recipe = recipe || jsonb_build_object('epochs', :n)", n=count)


def test_a_killed_worker_loses_its_job_and_another_attempt_finishes_it_and_sigterm_releases(
    world: World, live: Settings, model: RegisteredModel, tmp_path: Path
) -> None:
    epochs(world, ENDLESS)
    job, request = world.job_with_request(model)

    def unlearning() -> bool:
        return world.job(job.id).phase == "unlearning" and world.job(job.id).progress is not None

    with (
        process(RELAY, live, tmp_path / "relay.log"),
        process(WORKER, live, tmp_path / "worker.log") as worker,
    ):
        wait_until(unlearning)
        epochs(world, SHORT)
        kill_child(worker)
        wait_until(lambda: world.job(job.id).status == "succeeded")
        outcomes = world.rows("SELECT outcome FROM attempts WHERE job_id = :id ORDER BY fence", id=job.id)
        assert [outcome for (outcome,) in outcomes] == ["lease_lost", "succeeded"]
        assert world.request(request.id).status == "succeeded"

        epochs(world, ENDLESS)
        job, request = world.job_with_request(model, instances=["p7"])
        wait_until(unlearning)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
        released = world.job(job.id)
        assert (released.status, released.attempt, released.lease_holder) == ("queued", 0, None)
        assert released.snapshot_artifact_id is not None
        assert world.request(request.id).status == "queued"
    # A second that each start of a worker would take, and each return of the broker.
    assert "mingle" not in (tmp_path / "worker.log").read_text()
