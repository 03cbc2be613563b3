"""Every call is charged to a budget before anything else is done with it; beyond the budget it is refused.

Calls with a key that has opened before are charged to that key, reads and writes apart. All others, those
with a key that is not known to open yet among them, are charged to the address that they come from. So who
guesses keys or floods without one is stopped before the database is asked, and those with keys of their own
are not held up behind the same address.
"""

import hashlib
import secrets
from collections import OrderedDict
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import TooManyRequests
from app.core.openapi import UNLIMITED
from app.core.problems import send_problem
from app.core.settings import Settings
from app.rate_limits.budgets import READS, STRANGERS, Budget, Standing, address_of, kind_of
from app.rate_limits.counting import Calls

MOST_KEYS = 10_000
_UNAUTHENTICATED = 401


class RateLimits:
    def __init__(self, app: ASGIApp, settings: Settings, calls: Calls) -> None:
        self._app = app
        self._settings = settings
        self._calls = calls
        self._opened = _Opened()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNLIMITED:
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("authorization")
        credentials = self._opened.digest(sent) if sent else None
        budget = self._budget(scope, credentials)
        standing = await self._calls.charge(budget) if budget.calls else None  # none: it bounds nothing
        if standing is not None and standing.is_exceeded:
            await _refuse(standing, scope, send)
            return

        async def send_with_standing(message: Message) -> None:
            if message["type"] == "http.response.start":
                if standing is not None:
                    MutableHeaders(scope=message).update(standing.headers)
                if credentials is not None:
                    self._opened.note(credentials, scope, message["status"])
            await send(message)

        await self._app(scope, receive, send_with_standing)

    def _budget(self, scope: Scope, credentials: bytes | None) -> Budget:
        key = self._opened.get(credentials) if credentials is not None else None
        if key is None:
            return Budget(STRANGERS, address_of(scope), self._settings.rate_limit_strangers)
        kind = kind_of(scope["method"])
        settings = self._settings
        return Budget(kind, key, settings.rate_limit_reads if kind == READS else settings.rate_limit_writes)


class _Opened:
    """Credentials that have opened before, as digests under a salt of this process's own; whose they are."""

    def __init__(self) -> None:
        self._keys: OrderedDict[bytes, str] = OrderedDict()
        self._salt = secrets.token_bytes(32)

    def digest(self, sent: str) -> bytes:
        return hashlib.blake2b(sent.encode("latin-1", "replace"), key=self._salt, digest_size=16).digest()

    def get(self, credentials: bytes) -> str | None:
        key = self._keys.get(credentials)
        if key is not None:
            self._keys.move_to_end(credentials)
        return key

    def note(self, credentials: bytes, scope: Scope, status: int) -> None:
        """What the call has shown: that they open, or do so no longer."""
        key = scope["state"].get("api_key_id")
        if key is not None:
            self._keys[credentials] = str(key)
            if len(self._keys) > MOST_KEYS:
                self._keys.popitem(last=False)
        elif status == _UNAUTHENTICATED:
            self._keys.pop(credentials, None)


async def _refuse(standing: Standing, scope: Scope, send: Send) -> None:
    budget = standing.budget
    violated: dict[str, Any] = {"violated-policies": [budget.name]}  # as the draft names it
    whose = f"this API key ({budget.name})"
    if budget.name == STRANGERS:
        whose = "this address, without a key that has opened before,"
    problem = TooManyRequests(
        f"More than {budget.calls} calls within {standing.window} seconds from {whose} are not served: go on "
        f"in {standing.seconds} seconds.",
        headers=standing.headers,
        **violated,
    )
    await send_problem(problem, scope, scope["state"].get("request_id"), send)
