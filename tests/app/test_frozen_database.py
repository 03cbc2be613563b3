"""A PostgreSQL whose processes are frozen takes every call and says nothing. The API says so, in time."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from app.core.settings import Settings
from app.main import create_app
from app.standalone.postgres import PostgresServer
from chaos.freezing import frozen_postgres
from tests.app.conftest import calling
from tests.app.world import World

pytestmark = pytest.mark.anyio

# A pooled connection is waited for a second and a half, and one in its place two; the rest is for a busy
# machine.
IN_TIME = 20.0
BODY = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}


@pytest.fixture
def patience() -> float:
    """Seconds, beyond the half second that a statement may take, that a silent database is waited for."""
    return 1.0


@pytest.fixture
async def app(
    settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch, patience: float, anyio_backend: str
) -> AsyncIterator[FastAPI]:
    monkeypatch.setattr("app.core.database.SECONDS_TO_SAY_SO", patience)
    monkeypatch.setattr("app.core.database.SECONDS_TO_CONNECT", 2)  # no less is waited for
    monkeypatch.setattr("app.operations.endpoints.SECONDS", 0.2)
    made = create_app(settings.model_copy(update={"statement_timeout_seconds": 0.5}))
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def client(app: FastAPI, world: World) -> AsyncIterator[httpx.AsyncClient]:
    world.ready_model()
    async with calling(app, world.key("acme", "admin")) as made:
        assert (await made.get("/v1/models")).status_code == 200  # over a connection that stays in the pool
        await asyncio.gather(*app.state.background)  # the key's use is noted
        yield made


async def test_calls_are_told_that_it_is_away_and_served_when_it_goes_on(
    client: httpx.AsyncClient, postgres: PostgresServer, world: World
) -> None:
    async with asyncio.timeout(IN_TIME):
        with frozen_postgres(postgres):
            read, written = await asyncio.gather(
                client.get("/v1/models"), client.post("/v1/deletion-requests", json=BODY)
            )
    for answer in (read, written):
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert answer.headers["retry-after"]
    assert (await client.post("/v1/deletion-requests", json=BODY)).status_code == 202
    listed = (await client.get("/v1/deletion-requests")).json()
    assert len(listed["data"]) == 1


@pytest.mark.parametrize("patience", [60.0])
async def test_nobody_who_does_without_it_waits_for_it(
    app: FastAPI, client: httpx.AsyncClient, postgres: PostgresServer
) -> None:
    begin = time.monotonic()
    with frozen_postgres(postgres):
        assert (await client.get("/healthz")).status_code == 200
        for _ in range(3):  # as probers and scrapers come, again and again
            told, ready = await client.get("/metrics"), await client.get("/readyz")
            assert (told.status_code, ready.status_code) == (200, 503)
            assert "lethe_http_requests_total" in told.text
            assert ready.json()["code"] == "database_unavailable"
        # Two questions are under way, however often they were put, and neither had to end for this.
        assert len(app.state.background) == 2
    assert time.monotonic() - begin < IN_TIME
    assert (await client.get("/readyz")).status_code == 200
