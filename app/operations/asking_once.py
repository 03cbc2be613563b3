"""A question to the database that many ask: put once at a time, and waited for no longer than so long."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class AskedOnce:
    """A database that hangs costs one connection, however many ask meanwhile; and who asks is answered in
    time, though to call a question back may take its own time. `tasks` keeps what is under way, for the end
    of the process to wait for."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, None]], tasks: set[asyncio.Task[None]]) -> None:
        self._ask = ask
        self._tasks = tasks
        self._under_way: asyncio.Task[None] | None = None

    async def wait(self, seconds: float) -> None:
        """Raises `TimeoutError`, and what the question raises; the next to ask waits for that same one."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._ask())
            self._tasks.add(self._under_way)
            self._under_way.add_done_callback(self._tasks.discard)
        await asyncio.wait_for(asyncio.shield(self._under_way), seconds)
