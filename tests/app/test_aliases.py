"""Aliases move forward freely, and back only with a reason."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.app.conftest import calling
from tests.app.world import World

pytestmark = pytest.mark.anyio

REQUESTS = "/v1/deletion-requests"
ALIASES = "/v1/models/reader/aliases"


async def _forget(client: httpx.AsyncClient, world: World, *instances: str, **more: Any) -> dict[str, Any]:
    body = {"model": "reader", "instances": list(instances), "tasks": "all"} | more
    made: dict[str, Any] = (await client.post(REQUESTS, json=body)).json()
    if made["job"]:
        world.claim(made["job"])
        world.publish(made["job"])
    return made


async def test_an_alias_moves_forward(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    assert (await client.put(f"{ALIASES}/champion", json={"version": 1})).json() == {
        "name": "champion",
        "version": 1,
    }
    await _forget(client, world, "scan-1")
    assert (await client.put(f"{ALIASES}/champion", json={"version": 2})).status_code == 200
    listed = (await client.get(ALIASES)).json()["data"]
    assert listed == [{"name": "champion", "version": 2}, {"name": "latest", "version": 2}]
    assert (await client.put(f"{ALIASES}/latest", json={"version": 2})).status_code == 200
    assert (await client.put(f"{ALIASES}/champion", json={"version": 9})).status_code == 404
    for bad in ("Champion", "2", "a%2Fb"):
        answer = await client.put(f"{ALIASES}/{bad}", json={"version": 1})
        assert answer.status_code in (404, 422)
    world.run("UPDATE model_versions SET state = 'quarantined' WHERE number = 1")
    gone = await client.put(f"{ALIASES}/champion", json={"version": 1, "reason": "x"})
    assert (gone.status_code, gone.json()["code"]) == (409, "version_not_served")


async def test_a_version_that_remembers_needs_an_administrator_with_a_reason(
    client: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    world.ready_model()
    await _forget(client, world, "scan-1", "scan-2")
    await _forget(client, world, "scan-3")
    async with calling(app, world.key("acme", "models:write")) as writer:
        for caller, body in (
            (client, {"version": 1}),
            (writer, {"version": 1, "reason": "it was better"}),
        ):
            refused = await caller.put(f"{ALIASES}/champion", json=body)
            assert (refused.status_code, refused.json()["code"]) == (409, "version_remembers")
            assert refused.json()["requests"] == 2
            assert refused.json()["instances"] == 3
            assert refused.json()["labels"] == 6
    closer = await client.put(f"{ALIASES}/champion", json={"version": 2})
    assert (closer.status_code, closer.json()["requests"]) == (409, 1)
    assert world.run("SELECT count(*) FROM model_versions WHERE state = 'published'") == 1
    assert (await client.get("/v1/models/reader")).json()["latest_version"] == 3


async def test_going_back_reopens_what_was_forgotten_since(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    kept = await _forget(client, world, "scan-1")
    lost = await _forget(client, world, "scan-2", regulation="gdpr")
    again = (
        await client.post(REQUESTS, json={"model": "reader", "instances": ["scan-2"], "tasks": ["digit"]})
    ).json()
    assert again["status"] == "succeeded"
    waiting = (
        await client.post(REQUESTS, json={"model": "reader", "instances": ["scan-5"], "tasks": "all"})
    ).json()
    answer = await client.put(f"{ALIASES}/champion", json={"version": 2, "reason": "it broke"})
    assert answer.status_code == 200, answer.text

    model = (await client.get("/v1/models/reader")).json()
    assert model["latest_version"] == 2
    assert [task["remaining"] for task in model["tasks"]] == [19, 19]
    states = {
        v["number"]: (v["state"], v["aliases"])
        for v in (await client.get("/v1/models/reader/versions")).json()["data"]
    }
    assert states == {
        1: ("superseded", []),
        2: ("published", ["champion", "latest"]),
        3: ("superseded", []),
    }
    untouched = (await client.get(f"{REQUESTS}/{kept['id']}")).json()
    assert (untouched["status"], untouched["result_version"]) == ("succeeded", 2)
    for request in (lost, again):
        reopened = (await client.get(f"{REQUESTS}/{request['id']}")).json()
        assert (reopened["status"], reopened["result_version"]) == ("queued", None)
        assert reopened["finished_at"] is None
        assert reopened["job"] == waiting["job"]
    job = (await client.get(f"/v1/jobs/{waiting['job']}")).json()
    assert job["request_count"] == 3
    assert job["due_at"] is not None
    remembered = "SELECT count(*) FROM forgotten_supervision WHERE version_id IS NULL"
    assert world.run(remembered) == 2
    audit = world.rows("SELECT data FROM audit_log WHERE action = 'model.take_back'")
    assert audit[0].data["reason"] == "it broke"

    # The line goes on from there: a new version whose parent is 2.
    world.claim(waiting["job"])
    world.publish(waiting["job"])
    newest = (await client.get("/v1/models/reader/versions/latest")).json()
    assert (newest["number"], newest["parent"]) == (4, 2)


async def test_nothing_goes_back_while_a_job_is_active(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    await _forget(client, world, "scan-1")
    body = {"model": "reader", "instances": ["scan-5"], "tasks": "all"}
    job = (await client.post(REQUESTS, json=body)).json()["job"]
    world.claim(job)
    refused = await client.put(f"{ALIASES}/latest", json={"version": 1, "reason": "x"})
    assert (refused.status_code, refused.json()["code"]) == (409, "job_active")
    assert (await client.get("/v1/models/reader")).json()["latest_version"] == 2
