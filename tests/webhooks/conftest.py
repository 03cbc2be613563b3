"""The API in this process, a courier, and a receiver that the operator has listed."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine

from app.core.settings import Settings
from app.main import create_app
from app.relay.courier import Courier
from tests.app.conftest import calling
from tests.app.world import World
from tests.database import Database
from tests.webhooks.receiver import Receiver


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def settings(settings: Settings, receiver: Receiver) -> Settings:
    return Settings(
        **settings.model_dump()
        | {
            "webhook_inner_receivers": f"127.0.0.1:{receiver.port}",
            "webhook_total_seconds": 2.0,
        }
    )


@pytest.fixture
def world(database: Database, settings: Settings) -> Iterator[World]:
    engine = create_engine(database.owner_url)
    yield World(engine, settings)
    engine.dispose()


@pytest.fixture
async def app(settings: Settings, anyio_backend: str) -> AsyncIterator[FastAPI]:
    made = create_app(settings)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def client(app: FastAPI, world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(app, world.key("acme", "admin")) as made:
        yield made


@pytest.fixture
def courier(settings: Settings) -> Iterator[Courier]:
    made = Courier(settings)
    made.start()
    yield made
    made.stop(10)


@pytest.fixture
def due_now(world: World) -> Callable[[], Any]:
    """Time passes: what waits for its next attempt is due."""
    return lambda: world.run("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE status = 'pending'")
