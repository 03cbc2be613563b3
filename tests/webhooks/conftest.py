"""The API in this process, a courier, and a receiver that the operator has listed."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.core.settings import Settings
from app.relay.courier import Courier
from tests.app.conftest import anyio_backend, app, client, world
from tests.app.world import World
from tests.webhooks.receiver import Receiver

__all__ = ["anyio_backend", "app", "client", "world"]


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
def courier(settings: Settings) -> Iterator[Courier]:
    made = Courier(settings)
    made.start()
    yield made
    made.stop(10)


@pytest.fixture
def due_now(world: World) -> Callable[[], Any]:
    """Time passes: what waits for its next attempt is due."""
    return lambda: world.run("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE status = 'pending'")
