"""Which requests share a job, and how long it waits for them."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.app.world import World

pytestmark = pytest.mark.anyio
URL = "/v1/deletion-requests"


def set_policy(world: World, **policy: Any) -> None:
    world.ready_model()
    world.run(
        "UPDATE registered_models SET policy = policy || CAST(:policy AS jsonb)", policy=json.dumps(policy)
    )


def body(number: int, **changes: object) -> dict[str, object]:
    return {"model": "reader", "instances": [f"scan-{number}"], "tasks": "all"} | changes


WAITS = "SELECT round(extract(epoch FROM not_before - created_at)) FROM jobs"


async def test_a_job_waits_for_the_window_and_not_past_a_due_date(
    client: httpx.AsyncClient, world: World
) -> None:
    set_policy(world, window=3600)
    first = (await client.post(URL, json=body(1))).json()
    assert world.run(WAITS) == 3600
    second = (await client.post(URL, json=body(2))).json()
    later = (await client.post(URL, json=body(3, regulation="gdpr"))).json()
    assert first["job"] == second["job"] == later["job"]
    assert world.run(WAITS) == 3600  # nobody is due within it, and who joins does not put it off
    # Nobody waits past a due date, nor who opens a job of another method.
    world.run("UPDATE registered_models SET policy = jsonb_set(policy, '{window}', '9999999')")
    opened = (await client.post(URL, json=body(5, method="retrain", regulation="gdpr"))).json()
    assert world.run("SELECT not_before <= now() FROM jobs WHERE id = :id", id=opened["job"])


async def test_who_is_due_within_the_window_has_the_open_job_start_at_once(
    client: httpx.AsyncClient, world: World
) -> None:
    set_policy(world, window=9_999_999)
    made = (await client.post(URL, json=body(1))).json()
    assert not world.run("SELECT not_before <= now() FROM jobs")
    urgent = (await client.post(URL, json=body(2, regulation="gdpr"))).json()
    assert urgent["job"] == made["job"]
    assert world.run("SELECT not_before <= now() FROM jobs")


async def test_a_full_job_takes_no_more_though_many_come_at_once(
    client: httpx.AsyncClient, world: World
) -> None:
    set_policy(world, window=3600, max_requests=3)
    answers = await asyncio.gather(*(client.post(URL, json=body(number)) for number in range(7)))
    assert {answer.status_code for answer in answers} == {202}
    jobs = world.rows(
        "SELECT accepts_requests, not_before <= now() AS starts,"
        " (SELECT count(*) FROM deletion_requests WHERE job_id = jobs.id) AS requests"
        " FROM jobs ORDER BY accepts_requests, id"
    )
    assert [tuple(job) for job in jobs] == [(False, True, 3), (False, True, 3), (True, False, 1)]
    # What is taken back leaves its place to another.
    open_job = world.run("SELECT id FROM jobs WHERE accepts_requests")
    [waiting] = world.rows("SELECT id FROM deletion_requests WHERE job_id = :id", id=open_job)
    await client.post(URL, json=body(7))
    await client.post(f"{URL}/{waiting.id}/cancel")
    await client.post(URL, json=body(8))
    assert world.run("SELECT accepts_requests FROM jobs WHERE id = :id", id=open_job)
    await client.post(URL, json=body(9))
    assert not world.run("SELECT accepts_requests FROM jobs WHERE id = :id", id=open_job)
