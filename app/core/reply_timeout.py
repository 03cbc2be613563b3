"""Connections that give up on a server which has taken the call and says nothing.

A PostgreSQL whose processes are frozen (a paused container, a stopped machine, a disk that hangs) keeps its
sockets: the kernel goes on acknowledging what is sent, so that neither keepalives nor TCP_USER_TIMEOUT see
anything, and the server's own statement_timeout cannot fire. Only who waits can give up.

psycopg waits by way of `wait`, which drives a generator: it is sent what the socket is ready for, or nothing
ten times a second. So whatever the server says, and every block that it takes, begins the time anew: rows
that keep coming are never cut off. The connection is closed then, for nobody knows what the server still
says: a COMMIT that it had been sent may have been, or may yet be, carried out.
"""

import math
import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn
from psycopg.waiting import Ready

SECONDS_BETWEEN_LOOKS = 0.1  # as psycopg does
RV = TypeVar("RV")


class ServerSilent(psycopg.OperationalError):
    """The server has said nothing for too long; the connection to it was closed."""


class Connection(psycopg.Connection[Any]):
    """Waits `reply_seconds` for the server to say something; raises `ServerSilent` then.

    A wait that has a limit of its own, as `notifies(timeout=…)` has, is left as it is: there silence is no
    fault.
    """

    reply_seconds = math.inf

    def wait(
        self, gen: PQGen[RV], interval: float = SECONDS_BETWEEN_LOOKS, timeout: float | None = None
    ) -> RV:
        if timeout is None:
            gen = _while_it_answers(gen, self.pgconn, self.reply_seconds)
        return super().wait(gen, interval, timeout)


class AsyncConnection(psycopg.AsyncConnection[Any]):
    """The same, for asyncio."""

    reply_seconds = math.inf

    async def wait(
        self, gen: PQGen[RV], interval: float = SECONDS_BETWEEN_LOOKS, timeout: float | None = None
    ) -> RV:
        if timeout is None:
            gen = _while_it_answers(gen, self.pgconn, self.reply_seconds)
        return await super().wait(gen, interval, timeout)


def _while_it_answers(gen: PQGen[RV], pgconn: PGconn, seconds: float) -> PQGen[RV]:
    """`gen`, until nothing was ready for so many seconds."""
    heard = time.monotonic()
    ready: Any = None  # what starts a generator; later also what a wait that was cancelled begins anew with
    while True:
        try:
            wanted = gen.send(ready)
        except StopIteration as ended:
            result: RV = ended.value
            return result
        ready = yield wanted
        if ready:
            heard = time.monotonic()
        elif ready == Ready.NONE and time.monotonic() - heard > seconds:
            pgconn.finish()
            raise ServerSilent(f"PostgreSQL has said nothing for {seconds:g} s; the connection was closed")
