"""Where an instance went."""

import httpx
import pytest
from fastapi import FastAPI

from tests.app.conftest import calling
from tests.app.world import World

pytestmark = pytest.mark.anyio


async def test_what_became_of_an_instance(client: httpx.AsyncClient, app: FastAPI, world: World) -> None:
    world.ready_dataset(without={"scan-3": ["parity"]})
    world.ready_model(name="reader")
    world.ready_model(name="counter", tasks=("digit",))
    body = {"model": "reader", "instances": ["scan-1"], "tasks": ["digit"]}
    first = (await client.post("/v1/deletion-requests", json=body)).json()
    world.claim(first["job"])
    world.publish(first["job"])
    second = (await client.post("/v1/deletion-requests", json=body | {"tasks": ["parity"]})).json()
    async with calling(app, world.key("acme", "audit:read")) as auditor:
        answer = await auditor.post(
            "/v1/lookups", json={"dataset": "scans", "instances": ["ghost", "scan-1", "scan-3"]}
        )
    assert answer.status_code == 200, answer.text
    ghost, one, three = answer.json()["data"]
    assert (ghost["known"], ghost["models"]) == (False, [])
    assert [model["model"] for model in one["models"]] == ["counter", "reader"]
    tasks = {task["task"]: task for task in one["models"][1]["tasks"]}
    assert (tasks["digit"]["state"], tasks["digit"]["request"], tasks["digit"]["version"]) == (
        "forgotten",
        first["id"],
        2,
    )
    assert (tasks["parity"]["state"], tasks["parity"]["request"]) == ("pending", second["id"])
    assert [task["state"] for task in one["models"][0]["tasks"]] == ["learned"]
    assert [task["task"] for task in three["models"][1]["tasks"]] == ["digit"]
    audited = world.rows("SELECT data, request_id FROM audit_log WHERE action = 'lookup'")
    assert audited[0].data == {"instances": 3}
    assert audited[0].request_id == answer.headers["x-request-id"]


async def test_lookups_that_are_refused(client: httpx.AsyncClient, world: World) -> None:
    world.ready_dataset()
    for body, status, code in (
        ({"dataset": "none", "instances": ["a"]}, 404, "dataset_not_found"),
        ({"dataset": "scans", "instances": []}, 422, "validation_error"),
        ({"dataset": "scans", "instances": ["a", "a"]}, 422, "duplicate_instances"),
        ({"dataset": "scans", "instances": [str(i) for i in range(1001)]}, 422, "validation_error"),
    ):
        answer = await client.post("/v1/lookups", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
