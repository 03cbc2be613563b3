"""The outermost layer around every request: its id, our version, its log line, its metrics, its last resort.

Pure ASGI, because it lies on every path. The log line holds method, path, status and time; never a
body, a query string or a header.
"""

import re
import time
import uuid
from importlib.metadata import version

import structlog
from psycopg.errors import IdleInTransactionSessionTimeout
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import LetheError
from app.core.logging import get_logger
from app.core.metrics import observe_request
from app.core.problems import database_away, send_problem

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_VERSION = version("lethe-service")
_CLIENT_CLOSED_REQUEST = 499  # as nginx logs it; nobody receives it

log = get_logger("lethe.http")


class RequestContext:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = _CLIENT_CLOSED_REQUEST

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["lethe-version"] = _VERSION
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as error:
                if status != _CLIENT_CLOSED_REQUEST:  # an answer had begun: only the server can end it
                    log.exception("answer_broken", path=scope["path"])
                    raise
                await _last_resort(error, scope, request_id, send_with_id)
            finally:
                seconds = time.perf_counter() - started
                observe_request(scope, status, seconds)
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    milliseconds=round(seconds * 1000, 2),
                )


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get("x-request-id")
    if sent is not None and _SANE_ID.fullmatch(sent):
        return sent
    return uuid.uuid4().hex


async def _last_resort(error: Exception, scope: Scope, request_id: str, send: Send) -> None:
    problem: LetheError
    # The server ends a transaction that a busy machine kept idle for too long.
    ended = isinstance(error, DBAPIError) and isinstance(error.orig, IdleInTransactionSessionTimeout)
    if ended or isinstance(error, (OperationalError, InterfaceError, PoolTimeout)):
        log.warning("database_unavailable", error=type(error).__name__)
        problem = database_away(error)
    else:
        log.exception("unhandled_error", path=scope["path"])
        problem = LetheError("Something went wrong on our side; quote the request_id when you report it.")
    await send_problem(problem, scope, request_id, send)
