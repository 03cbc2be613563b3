"""Calls counted per budget and window: in Redis, for all processes together; here while Redis is away.

Nothing depends on Redis. A call waits for it a few milliseconds; one that waited in vain is the last for a
while: until Redis answers a question that is asked beside all calls, everything is counted in the process.
"""

import asyncio
import time
from collections import Counter
from typing import Any

from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.core.logging import get_logger
from app.core.metrics import RATE_LIMITS_ALONE
from app.core.settings import Settings
from app.rate_limits.budgets import Budget, Standing

SECONDS_BETWEEN_QUESTIONS = 2.0
PREFIX = "lethe-limits"
CONNECTIONS = 1000
# Callers that one process counts apart in a window: whoever comes after so many shares a budget.
MOST_CALLERS = 100_000
_THE_REST = "the rest"

log = get_logger("lethe.rate_limits")


class Calls:
    """Windows begin at whole multiples of their length, so that one count is all that has to be asked for."""

    def __init__(self, settings: Settings) -> None:
        self._window = settings.rate_limit_window_seconds
        self._patience = settings.rate_limit_patience_seconds
        self._pool = _connections(settings)
        self._redis = None
        if self._pool is not None:
            options: dict[str, Any] = {"connection_pool": self._pool}
            self._redis = RedisStorage(
                "async+redis://", implementation="redispy", key_prefix=PREFIX, **options
            )
        self._alone = self._redis is None
        self._asking: asyncio.Task[None] | None = None
        self._counts: Counter[str] = Counter()
        self._counted_window = 0

    async def charge(self, budget: Budget) -> Standing:
        """Count one call."""
        number, passed = divmod(time.time(), self._window)
        name = f"{budget.name}/{budget.who}/{number:.0f}"
        used = None if self._alone else await self._in_redis(name)
        if used is None:
            used = self._in_this_process(name, int(number))
        return Standing(budget, self._window, used, max(1, round(self._window - passed)))

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        if self._pool is not None:
            await self._pool.aclose()

    async def _in_redis(self, name: str) -> int | None:
        assert self._redis is not None
        try:
            async with asyncio.timeout(self._patience):
                return await self._redis.incr(name, self._window)
        except (RedisError, OSError, TimeoutError) as error:
            self._count_alone(type(error).__name__)
            return None

    def _in_this_process(self, name: str, number: int) -> int:
        if number != self._counted_window:
            self._counts.clear()
            self._counted_window = number
        if len(self._counts) >= MOST_CALLERS and name not in self._counts:
            name = _THE_REST
        self._counts[name] += 1
        return self._counts[name]

    def _count_alone(self, error: str) -> None:
        if self._alone:
            return
        self._alone = True
        RATE_LIMITS_ALONE.set(1)
        log.warning("rate_limits_without_redis", error=error)
        self._asking = asyncio.create_task(self._ask_until_it_answers())

    async def _ask_until_it_answers(self) -> None:
        assert self._redis is not None
        while self._alone:
            await asyncio.sleep(SECONDS_BETWEEN_QUESTIONS)
            try:
                async with asyncio.timeout(self._patience):
                    await self._redis.incr("question", self._window)
            except (RedisError, OSError, TimeoutError):
                continue
            self._alone = False
            RATE_LIMITS_ALONE.set(0)
            log.info("rate_limits_with_redis_again")


def _connections(settings: Settings) -> ConnectionPool | None:
    """None where the broker is none that could count."""
    url = (settings.rate_limit_redis_url or settings.broker_url).get_secret_value()
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return None
    return ConnectionPool.from_url(
        url,
        socket_timeout=settings.rate_limit_patience_seconds,
        socket_connect_timeout=settings.rate_limit_patience_seconds,
        retry=Retry(NoBackoff(), 0),
        max_connections=CONNECTIONS,
    )
