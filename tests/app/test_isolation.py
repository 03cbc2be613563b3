"""Another tenant's things are exactly as absent as things that never were: on every route."""

import uuid

import httpx
import pytest
from fastapi import FastAPI

from tests.app.conftest import calling
from tests.app.world import World

pytestmark = pytest.mark.anyio

OPENDSR = "a7551968-d5d6-44b2-9831-815ac9017798"  # tests/opendsr has one that is there
OTHER = "01890000-0000-7000-8000-000000000001"
UNKNOWN = "01890000-0000-7000-8000-000000000000"
BODIES: dict[str, dict[str, object]] = {
    "PUT /v1/models/{model}/aliases/{alias}": {"version": 1},
    "POST /v1/jobs/{job_id}/approve": {"reason": "x"},
    "POST /v1/jobs/{job_id}/reject": {"reason": "x"},
    "POST /v1/datasets/{dataset}/identities": {
        "identities": [{"identity_type": "email", "identity_value": "a@b.c", "instances": ["scan-1"]}]
    },
    "PATCH /v1/webhooks/{webhook_id}": {"enabled": False},
    "POST /v1/webhooks/{webhook_id}/rotate-secret": {},
    "PUT /v1/models/{model}/dataset": {"dataset": "scans"},
    "PUT /v1/models/{model}/retention": {"quarantine_after": 1, "delete_after": 1},
    "POST /v1/models/{model}/versions/{version}/release": {"reason": "x"},
    "POST /v1/models/{model}/holds": {"reason": "x"},
    "POST /v1/models/{model}/holds/{hold_id}/lift": {"reason": "x"},
    "POST /v1/models/{model}/destroy": {"reason": "x"},
    "POST /v1/deletion-requests/{request_id}/approve": {"reason": "x"},
    "POST /v1/deletion-requests/{request_id}/reject": {"reason": "x"},
    "POST /v1/deletion-requests/{request_id}/extend": {"reason": "x", "notified_at": "2026-11-20T09:00:00Z"},
}
# Not of a tenant, or without anything to name in the path.
FIXED = {"alias": "champion", "version": "1", "event_id": "1", "audit_id": OTHER, "hold_id": OTHER}


def _routes(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path) of every documented route that names something of a tenant's in its path."""
    return [
        (method.upper(), path)
        for path, item in app.openapi()["paths"].items()
        for method in item
        if "{" in path
    ]


async def test_every_route_keeps_tenants_apart(app: FastAPI, world: World, subtests: pytest.Subtests) -> None:
    world.ready_model("mine")
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
    async with calling(app, world.key("mine", "admin")) as mine:
        request = (await mine.post("/v1/deletion-requests", json=body)).json()
        listed = (await mine.post("/v1/instance-lists", json={"instances": ["a"]})).json()
        key_id = (await mine.get("/v1/api-keys")).json()["data"][0]["id"]
        models = (await mine.get("/v1/models/reader")).json()
        hook = (await mine.post("/v1/webhooks", json={"url": "https://example.com/"})).json()
    theirs: dict[str, list[str]] = {
        "model": ["reader", models["id"]],
        "dataset": ["scans", str(world.run("SELECT id FROM datasets"))],
        "request_id": [request["id"]],
        "job_id": [request["job"]],
        "list_id": [listed["id"]],
        "key_id": [key_id],
        "webhook_id": [hook["id"]],
        "subject_request_id": [OPENDSR],
    }
    before = _fingerprint(world)
    async with calling(app, world.key("other", "admin")) as other:
        for method, path in _routes(app):
            subject = path.split("{")[1].split("}")[0]
            for name in theirs[subject]:
                with subtests.test(f"{method} {path} {name}"):
                    found = await _call(other, method, path, subject, name)
                    unknown = await _call(other, method, path, subject, UNKNOWN)
                    assert found.status_code == unknown.status_code == 404
                    assert _shape(found, name) == _shape(unknown, UNKNOWN)
        for collection in ("models", "datasets", "deletion-requests", "jobs", "webhooks"):
            answer = await other.get(f"/v1/{collection}")
            assert answer.json() == {"data": [], "has_more": False}
        refused = await other.post("/v1/deletion-requests", json=body)
        assert refused.status_code == 404
        foreign_list = body | {"instances": None, "instance_list": listed["id"]}
        world.ready_model("other")
        assert (await other.post("/v1/deletion-requests", json=foreign_list)).status_code == 404
        assert (await other.post("/v1/lookups", json={"dataset": models["id"], "instances": ["a"]})).json()[
            "code"
        ] == "dataset_not_found"
        after = {"after": request["id"]}
        assert (await other.get("/v1/deletion-requests", params=after)).json()["data"] == []
    assert _fingerprint(world) == before


async def _call(client: httpx.AsyncClient, method: str, path: str, subject: str, name: str) -> httpx.Response:
    url = path.replace("{" + subject + "}", name)
    for parameter, value in FIXED.items():
        url = url.replace("{" + parameter + "}", value)
    json = BODIES.get(f"{method} {path}")
    if method == "PUT" and json is None:
        return await client.request(method, url, content=b"weights")
    return await client.request(method, url, json=json)


def _shape(answer: httpx.Response, name: str) -> dict[str, object]:
    if not answer.content:
        return {}
    body: dict[str, object] = answer.json()
    return {key: str(value).replace(name, "<name>") for key, value in body.items() if key != "request_id"}


def _fingerprint(world: World) -> list[object]:
    """The states of everything of tenant `mine`."""
    mine = world.tenant("mine")
    assert isinstance(mine, uuid.UUID)
    return [
        world.rows(f"SELECT * FROM {table} WHERE tenant_id = :t ORDER BY 1", t=mine)
        for table in (
            "jobs",
            "deletion_requests",
            "registered_models",
            "aliases",
            "instance_lists",
            "webhook_endpoints",
            "webhook_deliveries",
        )
    ]
