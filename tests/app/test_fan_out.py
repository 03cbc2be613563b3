"""Requests on a data set: partial failure is seen and retried alone; descendants that remember are named."""

from typing import Any

import httpx
from fastapi import FastAPI

from tests.app.conftest import calling
from tests.app.world import RECIPE, World

BODY = {"dataset": "scans", "instances": ["scan-1", "scan-2"], "tasks": "all"}
TASKS = [{"name": name, "kind": "classification", "outputs": 2} for name in ("digit", "parity")]


def job_of(world: World, request: str) -> Any:
    return world.run("SELECT job_id FROM deletion_requests WHERE id = :id", id=request)


async def test_what_failed_is_seen_and_retried_alone(
    client: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    for name in ("one", "two"):
        world.ready_model(name=name)
    made = (await client.post("/v1/deletion-requests", json=BODY)).json()
    url = f"/v1/deletion-requests/{made['id']}"
    early = await client.post(f"{url}/retry")
    assert (early.status_code, early.json()["code"]) == (409, "nothing_to_retry")
    done, failed = made["children"]
    for child in made["children"]:
        world.claim(job_of(world, child))
    world.publish(job_of(world, done))
    broken = job_of(world, failed)
    world.move_requests(broken, "failed")
    world.finish(broken, "failed")
    shown = (await client.get(url)).json()
    assert (shown["status"], shown["failed_children"]) == ("failed", [failed])

    again = (await client.post(f"{url}/retry")).json()
    assert (again["status"], again["failed_children"], again["finished_at"]) == ("running", None, None)
    assert job_of(world, failed) != broken
    assert (await client.get(f"/v1/deletion-requests/{done}")).json()["status"] == "succeeded"
    world.claim(job_of(world, failed))
    world.publish(job_of(world, failed))
    assert (await client.get(url)).json()["status"] == "succeeded"
    assert world.run("SELECT count(*) FROM audit_log WHERE action = 'deletion_request.retry'") == 1
    async with calling(app, world.key("other", "admin")) as other:
        assert (await other.post(f"{url}/retry")).status_code == 404

    world.run("UPDATE deletion_requests SET status = 'queued' WHERE id = :id", id=failed)
    world.run("UPDATE deletion_requests SET status = 'failed' WHERE id = :id", id=failed)
    world.run("UPDATE registered_models SET status = 'destroyed' WHERE name = 'two'")
    refused = await client.post(f"/v1/deletion-requests/{failed}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_retry")


async def test_descendants_that_still_remember_are_named(client: httpx.AsyncClient, world: World) -> None:
    base = world.ready_model(name="base")
    world.ready_dataset(name="other-data", instances=["else-1", "else-2"])
    new: dict[str, Any] = {"network": {"kind": "mlp"}, "tasks": TASKS, "recipe": RECIPE}

    async def register(name: str, dataset: str, version: int, of: str = "base") -> None:
        origin = {"model": of, "version": version}
        body = new | {"name": name, "dataset": dataset, "derived_from": origin}
        answer = await client.post("/v1/models", json=body)
        assert (answer.status_code, answer.json()["derived_from"]) == (201, f"{of}@{version}"), answer.text
        ready(name)

    def ready(name: str) -> None:
        model = world.run("SELECT id FROM registered_models WHERE name = :n", n=name)
        version = world.version(model, 1, "published")
        world.run("UPDATE registered_models SET status = 'validating' WHERE id = :m", m=model)
        world.run(
            "UPDATE registered_models SET status = 'ready', head_version_id = :v WHERE id = :m",
            m=model,
            v=version,
        )

    await register("tuned-elsewhere", "other-data", 1)
    await register("tuned-here", "scans", 1)
    await register("grandchild", "other-data", 1, "tuned-elsewhere")
    made = (await client.post("/v1/deletion-requests", json=BODY | {"dataset": None, "model": "base"})).json()
    world.claim(made["job"])
    assert world.publish(made["job"]) == 2
    await register("tuned-after", "other-data", 2)

    async def named() -> dict[str, tuple[str, int]]:
        shown = (await client.get(f"/v1/deletion-requests/{made['id']}")).json()
        return {each["model"]: (each["derived_from"], each["instances"]) for each in shown["descendants"]}

    remembering = {
        "tuned-elsewhere": ("base@1", 2),
        "tuned-here": ("base@1", 2),
        "grandchild": ("tuned-elsewhere@1", 2),
    }
    assert await named() == remembering

    own = {"model": "tuned-here", "instances": ["scan-1"], "tasks": "all"}
    theirs = (await client.post("/v1/deletion-requests", json=own)).json()
    world.claim(theirs["job"])
    world.publish(theirs["job"])
    assert await named() == remembering | {"tuned-here": ("base@1", 1)}

    asked = {"dataset": "scans", "instances": ["scan-1", "scan-3", "nobody"]}
    looked = (await client.post("/v1/lookups", json=asked)).json()
    told = {each["model"]: each["instances"] for each in looked["descendants"]}
    assert told == {
        "tuned-elsewhere": ["scan-1", "scan-3"],
        "tuned-here": ["scan-3"],
        "grandchild": ["scan-1", "scan-3"],
        "tuned-after": ["scan-3"],
    }

    for origin in ({"model": "base", "version": 9}, {"model": "none", "version": 1}):
        body = new | {"name": "x", "dataset": "scans", "derived_from": origin}
        answer = await client.post("/v1/models", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "origin_unknown")
    assert base
