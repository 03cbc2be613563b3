"""Plain requests of `lethe.plan` as those of httpx, and what httpx says in return."""

import re
import ssl
from typing import Any

import httpx

from lethe.configuration import Connection
from lethe.plan import Answer, NoAnswer, Outgoing
from lethe.versions import CLIENT_VERSION

_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
# The first is for connecting; a call that reads much may take its time between two pieces.
TIMEOUT = httpx.Timeout(60.0, connect=10.0)


def headers_for(connection: Connection) -> dict[str, str]:
    headers = {"User-Agent": f"lethe-client/{CLIENT_VERSION}"}
    if connection.api_key is not None:
        headers["Authorization"] = f"Bearer {connection.api_key}"
    return headers


def request_of(http: httpx.Client | httpx.AsyncClient, outgoing: Outgoing, content: Any) -> httpx.Request:
    """The API key goes to the service alone: not to where it sends us for the bytes of a checkpoint."""
    headers = dict(outgoing.headers)
    request = http.build_request(
        outgoing.method, outgoing.path, params=dict(outgoing.query) or None, headers=headers, content=content
    )
    base = http.base_url
    if (request.url.scheme, request.url.host, request.url.port) != (base.scheme, base.host, base.port):
        request.headers.pop("Authorization", None)
    return request


def answer_of(response: httpx.Response, body: bytes = b"") -> Answer:
    return Answer(response.status_code, response.headers, body)


def no_answer(error: httpx.TransportError, url: httpx.URL) -> NoAnswer:
    """A sentence to act on, without the key."""
    unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    address = f"{url.scheme}://{url.netloc.decode()}"
    return NoAnswer(f"{address} cannot be reached: {_why(error)}", arrived=not unsent)


def _why(error: httpx.TransportError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"its certificate was not accepted or it does not speak TLS ({cause.reason or cause})."
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectTimeout):
        return "nobody answers there. Is the address right, and is there a way to it from this machine?"
    if isinstance(error, httpx.ConnectError):
        why = _ERRNO.sub("", str(error)) or "the connection was refused"
        return f"{why}. Is the address right, and does the service run?"
    if isinstance(error, httpx.TimeoutException):
        return "it did not answer in time."
    return f"the connection broke off ({type(error).__name__})."
