"""One test for both clients: each call is made as a program would make it."""

from collections.abc import Callable
from typing import Any

import anyio

from lethe import AsyncClient, Client, Retries
from tests.client.scripted import KEY

# No pause worth waiting for.
PATIENT = Retries(attempts=4, first=0.001)
Call = Callable[..., Any]


def at_once(url: str, name: str, *args: Any, **kwargs: Any) -> Any:
    with Client(url, KEY, retries=PATIENT) as client:
        found = getattr(client, name)(*args, **kwargs)
        return list(found) if name == "events" else found


def awaited(url: str, name: str, *args: Any, **kwargs: Any) -> Any:
    async def go() -> Any:
        async with AsyncClient(url, KEY, retries=PATIENT) as client:
            found = getattr(client, name)(*args, **kwargs)
            return [event async for event in found] if name == "events" else await found

    return anyio.run(go)
