"""A real relay and a real Celery worker, spawned child included, on a real broker."""

import asyncio
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest

from app.admin import create_key
from app.core.settings import Settings
from app.main import create_app
from app.standalone.redis import RedisServer
from models import RegisteredModel
from tests.app.conftest import calling
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


def told(live: Settings, world: World, job_id: uuid.UUID) -> dict[str, Any]:
    """What the API says of a job."""

    async def ask() -> dict[str, Any]:
        made = create_app(live)
        async with made.router.lifespan_context(made), calling(made, key) as client:
            answer: dict[str, Any] = (await client.get(f"/v1/jobs/{job_id}")).json()
            return answer

    with world.change() as session:
        key = create_key(session, "acme", "test", ["admin"]).text
    return asyncio.run(ask())


def test_a_killed_worker_loses_its_job_and_another_attempt_finishes_it_and_sigterm_releases(
    world: World, live: Settings, model: RegisteredModel, tmp_path: Path
) -> None:
    """The first job is in its second rung by then: what unlearning made missed a bound, and it retrains."""
    epochs(world, ENDLESS)
    world.execute(
        "UPDATE registered_models SET policy = policy || CAST(:policy AS jsonb)",
        policy='{"on_miss": ["retrain", "needs_review"], "gates": {"forget_excess": -1000}}',
    )
    job = world.open_job(model, method="interference_aware")
    request = world.deletion(model, job, [f"p{number}" for number in range(60)], ["colour"])

    def unlearning() -> bool:
        seen = world.job(job.id)
        return seen.phase == "unlearning" and (seen.progress or {}).get("rung") == rung

    with (
        process(RELAY, live, tmp_path / "relay.log"),
        process(WORKER, live, tmp_path / "worker.log") as worker,
    ):
        rung = "retrain"
        wait_until(unlearning)
        seen = told(live, world, job.id)
        assert seen["phase"] == "unlearning"
        assert {key: seen["progress"][key] for key in ("rung", "rung_number", "rungs")} == {
            "rung": "retrain", "rung_number": 2, "rungs": 2,
        }  # fmt: skip
        assert [(each["rung"], each["result"]) for each in seen["rungs"]] == [("first", "missed")]
        epochs(world, SHORT)
        kill_child(worker)
        wait_until(lambda: world.job(job.id).status == "succeeded")
        done = told(live, world, job.id)
        assert [(each["rung"], each["attempt"], each["result"]) for each in done["rungs"]] == [
            ("first", 1, "missed"), ("retrain", 2, "published"),
        ]  # fmt: skip
        assert [len(each["rungs"]) for each in done["attempts"]] == [1, 1]
        outcomes = world.rows("SELECT outcome FROM attempts WHERE job_id = :id ORDER BY fence", id=job.id)
        assert [outcome for (outcome,) in outcomes] == ["lease_lost", "succeeded"]
        assert world.request(request.id).status == "succeeded"

        epochs(world, ENDLESS)
        job, request = world.job_with_request(model, instances=["p70"])
        rung = "first"
        wait_until(unlearning)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
        released = world.job(job.id)
        assert (released.status, released.attempt, released.lease_holder) == ("queued", 0, None)
        assert released.snapshot_artifact_id is not None
        assert world.request(request.id).status == "queued"
    # A second that each start of a worker would take, and each return of the broker.
    assert "mingle" not in (tmp_path / "worker.log").read_text()


def test_a_worker_that_is_told_to_stop_does_not_wait_for_its_imports(live: Settings, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with process(WORKER, live, log) as worker:
        wait_until(lambda: "ready." in log.read_text())
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0
    assert "warmed_up" not in log.read_text()
