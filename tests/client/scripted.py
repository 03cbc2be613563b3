"""A real HTTP server that answers as a test has written, failures included."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.server_thread import ServerThread

KEY = "lethe_0123456789abcdef_do-not-print-this-secret"


@dataclass
class Heard:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Reply:
    """`cut`: the connection breaks after that many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


def said(status: int, value: Any, **headers: str) -> Reply:
    return Reply(
        status, json.dumps(value).encode(), {name.replace("_", "-"): text for name, text in headers.items()}
    )


def problem(status: int, code: str, **headers: str) -> Reply:
    return said(
        status, {"title": "No", "status": status, "detail": f"Because of {code}.", "code": code}, **headers
    )


Script = Callable[[Heard], Reply]


class ScriptedServer(ServerThread):
    """Replies in turn, the last one ever after; or whatever a function makes of what was heard."""

    def __init__(self, *replies: Reply, script: Script | None = None) -> None:
        self.heard: list[Heard] = []
        self._script = script or (lambda _: replies[min(len(self.heard), len(replies)) - 1])
        super().__init__(self._answer, interface="asgi3", lifespan="off")

    async def _answer(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        target = scope["path"] + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        self.heard.append(Heard(scope["method"], target, headers, body))
        reply = self._script(self.heard[-1])
        given = {
            "content-length": str(max(len(reply.body), 0 if reply.cut is None else 1)),
            **{name.lower(): value for name, value in reply.headers.items()},
        }
        pairs = [(name.encode(), value.encode()) for name, value in given.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
        if reply.cut is not None:
            await send({"type": "http.response.body", "body": reply.body[: reply.cut], "more_body": True})
            raise ConnectionAbortedError
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})
