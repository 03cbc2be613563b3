"""The same world that the worker's tests arrange."""

from collections.abc import Iterator

import pytest
from celery import Celery
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import relay_url, sync_engine
from app.core.queue import celery_client
from app.core.settings import Settings
from app.core.storage import Storage
from app.standalone.redis import RedisServer
from tests.database import Database
from tests.worker.world import World


@pytest.fixture
def world(database: Database, settings: Settings) -> Iterator[World]:
    world = World(database, settings)
    yield world
    world.engine.dispose()


@pytest.fixture
def sessions(settings: Settings) -> Iterator[sessionmaker[Session]]:
    """As the relay's role."""
    engine = sync_engine(settings, relay_url(settings), "lethe-relay")
    yield sessionmaker(engine)
    engine.dispose()


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings.storage_url)


@pytest.fixture
def broker(settings: Settings, redis_server: RedisServer) -> Iterator[Celery]:
    """An empty, real broker."""
    client = celery_client(settings.model_copy(update={"broker_url": _secret(redis_server.url)}))
    with client.connection_for_write() as connection:
        connection.default_channel.client.flushall()
    yield client
    client.close()


def _secret(url: str) -> object:
    from pydantic import SecretStr

    return SecretStr(url)
