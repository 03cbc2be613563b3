"""What operators and their machines ask."""

import re
import threading

import httpx
import pytest
from fastapi import FastAPI

from app.core.settings import Settings
from app.main import create_app
from tests.app.conftest import calling
from tests.app.world import World

pytestmark = pytest.mark.anyio


async def test_the_root_leads_to_the_documentation(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
    page = (await client.get("/docs")).text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(loaded) >= 2
    for url in loaded:  # from this service, and from nowhere else
        assert url.startswith("/docs/assets/")
        assert (await client.get(url)).status_code == 200


async def test_alive_and_ready(app: FastAPI, world: World) -> None:
    async with calling(app, None) as anybody:
        assert (await anybody.get("/healthz")).json() == {"status": "ok"}
        assert (await anybody.get("/readyz")).json() == {"status": "ready", "storage": "ok"}
        world.run("UPDATE alembic_version SET version_num = 'older'")
        answer = await anybody.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "schema_outdated")


async def test_ready_without_storage_because_requests_need_none(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise OSError("read-only file system")

    monkeypatch.setattr(app.state.storage, "put", breaks)
    async with calling(app, None) as anybody:
        answer = await anybody.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "storage": "unavailable"})


async def test_a_storage_that_hangs_makes_nobody_wait_and_costs_one_thread(
    app: FastAPI, client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ready_model()
    hangs, calls = threading.Event(), []
    monkeypatch.setattr("app.operations.storage_probe.SECONDS", 0.05)
    monkeypatch.setattr(app.state.storage, "put", lambda *_: calls.append(hangs.wait(60)))
    try:
        for _ in range(3):
            assert (await client.get("/readyz")).json() == {"status": "ready", "storage": "slow"}
        body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
        assert (await client.post("/v1/deletion-requests", json=body)).status_code == 202
    finally:
        hangs.set()
    assert len(calls) <= 1


async def test_not_ready_without_a_database(settings: Settings) -> None:
    away = settings.model_copy(
        update={"database_url": type(settings.database_url)("postgresql+psycopg://x:y@127.0.0.1:1/z")}
    )
    made = create_app(away)
    async with made.router.lifespan_context(made), calling(made, "lethe_" + "0" * 12 + "_" + "0" * 48) as c:
        assert (await c.get("/healthz")).status_code == 200
        for path, status in (("/readyz", 503), ("/v1/models", 503), ("/metrics", 200)):
            answer = await c.get(path)
            assert answer.status_code == status
            if status == 503:
                assert answer.json()["code"] == "database_unavailable"


async def test_metrics_are_counted_by_route(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
    made = (await client.post("/v1/deletion-requests", json=body)).json()
    await client.get(f"/v1/deletion-requests/{made['id']}")
    await client.get("/no/such/path")
    text = (await client.get("/metrics")).text
    route = 'method="GET",route="/v1/deletion-requests/{request_id}",status="200"'
    assert f"lethe_http_requests_total{{{route}}}" in text
    assert 'route="unmatched",status="404"' in text
    assert made["id"] not in text
    assert "lethe_jobs_queued 1.0" in text
    assert "lethe_jobs_oldest_queued_seconds" in text
