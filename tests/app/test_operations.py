"""What operators and their machines ask."""

import re
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.core.settings import Settings
from app.main import create_app
from tests.app.conftest import calling
from tests.app.world import World

pytestmark = pytest.mark.anyio

TOKEN = "scrapers-only"


def require_token(app: FastAPI, monkeypatch: pytest.MonkeyPatch, token: str | None = TOKEN) -> None:
    secret = None if token is None else SecretStr(token)
    changed = app.state.settings.model_copy(update={"metrics_token": secret})
    monkeypatch.setattr(app.state, "settings", changed)


async def scraped(app: FastAPI) -> str:
    async with calling(app, TOKEN) as scraper:
        answer = await scraper.get("/metrics")
        assert answer.status_code == 200
        return answer.text


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


@pytest.mark.parametrize(
    "change", ["UPDATE alembic_version SET version_num = '0001'", "DELETE FROM alembic_version"]
)
async def test_not_ready_while_the_schema_is_older(app: FastAPI, world: World, change: str) -> None:
    world.run(change)
    async with calling(app, None) as anybody:
        answer = await anybody.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "schema_outdated")


async def test_ready_while_the_schema_is_newer_as_it_is_in_an_upgrade(app: FastAPI, world: World) -> None:
    world.run("UPDATE alembic_version SET version_num = '9999'")
    async with calling(app, None) as anybody:
        assert (await anybody.get("/readyz")).status_code == 200


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


async def test_metrics_tell_what_an_operator_is_paged_for(
    app: FastAPI, client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.operations.queue_metrics.SECONDS_BETWEEN_READINGS", 0.0)
    require_token(app, monkeypatch)
    world.ready_model()
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all", "regulation": "gdpr"}
    made = (await client.post("/v1/deletion-requests", json=body)).json()
    world.run(
        "INSERT INTO attempts (id, tenant_id, job_id, fence, worker, outcome, error_code, created_at)"
        " SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM now() - days * interval '1 day') * 1000"
        "  AS bigint)), 12, '0') || repeat('1', 20) AS uuid), tenant_id, id, days + 1, 'w', outcome, code,"
        " now()"
        " FROM jobs, (VALUES (0, 'lease_lost', 'worker_lost'), (2, 'failed', 'worker_error'))"
        " AS made (days, outcome, code) WHERE kind = 'unlearn'"
    )
    world.run(
        "INSERT INTO attempts (id, tenant_id, job_id, fence, worker, outcome)"
        " SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM now()) * 1000 AS bigint)), 12, '0')"
        "  || repeat('2', 20) AS uuid), tenant_id, id, 9, 'w', 'succeeded' FROM jobs WHERE kind = 'unlearn'"
    )
    world.run(
        """UPDATE jobs SET report = '{"run": {"seconds": {"loading": 1.5}, "device": "cpu",
        "peak_memory_bytes": 4096}}' WHERE kind = 'unlearn'"""
    )
    told = await scraped(app)
    where = 'model="reader",tenant="acme"'
    assert f"lethe_requests_unsettled{{{where}}} 1.0" in told
    assert f"lethe_requests_oldest_seconds{{{where}}}" in told
    found = re.search(rf"lethe_requests_due_days{{{where}}} ([0-9.]+)", told)
    assert found is not None
    left = datetime.fromisoformat(made["due_at"]) - datetime.now(UTC)  # a month has 28 to 31 days
    assert float(found[1]) == pytest.approx(left / timedelta(days=1), abs=0.01)
    assert 27.9 < float(found[1]) <= 31
    assert 'lethe_attempts_last_day{outcome="lease_lost"} 1.0' in told
    assert 'lethe_failures_last_day{code="worker_lost"} 1.0' in told
    assert "worker_error" not in told  # two days ago
    assert 'lethe_phase_seconds_last_day{phase="loading"} 1.5' in told
    assert 'lethe_device_peak_memory_bytes_last_day{device="cpu"} 4096.0' in told
    assert "lethe_outbox_unsent 1.0" in told
    await client.post(f"/v1/deletion-requests/{made['id']}/cancel")
    assert "lethe_requests_unsettled{" not in await scraped(app)


async def test_metrics_are_for_those_who_send_the_token(
    app: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_token(app, monkeypatch)
    async with calling(app, None) as anybody:
        for caller in (anybody, client):  # an API key is no token
            answer = await caller.get("/metrics")
            assert (answer.status_code, answer.json()["code"]) == (401, "metrics_token_invalid")
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert "lethe_jobs_queued" in await scraped(app)


@pytest.mark.parametrize("token", [None, ""])
async def test_without_a_token_everybody_reads_what_names_no_tenant(
    app: FastAPI,
    client: httpx.AsyncClient,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
) -> None:
    require_token(app, monkeypatch, token)
    world.ready_model()
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all", "regulation": "gdpr"}
    await client.post("/v1/deletion-requests", json=body)
    async with calling(app, None) as anybody:
        told = (await anybody.get("/metrics")).text
    assert "lethe_jobs_queued 1.0" in told
    assert "acme" not in told
    assert "reader" not in told


async def test_metrics_read_the_database_now_and_then_however_often_they_are_asked_for(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    assert "lethe_jobs_queued 0.0" in (await client.get("/metrics")).text
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
    await client.post("/v1/deletion-requests", json=body)
    assert "lethe_jobs_queued 0.0" in (await client.get("/metrics")).text
