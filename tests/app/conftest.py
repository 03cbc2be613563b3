"""The application on a database of its own, and clients that call it."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import structlog
from fastapi import FastAPI
from sqlalchemy import Engine, create_engine

from app.core.settings import Settings
from app.main import create_app
from tests.app.running import Serving
from tests.app.world import World
from tests.database import Database

# As the service does it, but for pytest's handlers; structlog's default would draw every traceback.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(),
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def worker_engine(database: Database) -> Iterator[Engine]:
    engine = create_engine(database.worker_url)
    yield engine
    engine.dispose()


@pytest.fixture
def world(database: Database, settings: Settings) -> Iterator[World]:
    """Makes tenants, keys, data sets and models directly in the database, as the owner."""
    engine = create_engine(database.owner_url)
    yield World(engine, settings)
    engine.dispose()


@pytest.fixture
async def app(settings: Settings, anyio_backend: str) -> AsyncIterator[FastAPI]:
    """The application with its lifespan begun: the in-process transport does not begin it."""
    made = create_app(settings)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def client(app: FastAPI, world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the application in this process, as an administrator of tenant `acme`."""
    async with calling(app, world.key("acme", "admin")) as made:
        yield made


@pytest.fixture
def served(settings: Settings) -> Iterator[Serving]:
    """The application behind a real uvicorn, in a thread."""
    with Serving(settings) as serving:
        yield serving


def calling(app: FastAPI, key: str | None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url="http://lethe", headers=headers)
