"""One POST to a server that a tenant named, within limits of time and size. Redirects are answers like any
other: nobody follows them. Every call has a connection of its own."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpcore

from app.outbound.addresses import Listed
from app.outbound.connecting import (
    CheckedNetwork,
    Lookup,
    NotAllowed,
    NotFound,
    look_up,
    secure_context,
)


class NotAnswered(Exception):
    """No answer came. `code` says why, in one word for machines and people alike."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Limits:
    """Seconds for the connection, for each wait, and for everything; `most_bytes` of the answer are read."""

    connect: float = 5.0
    read: float = 10.0
    total: float = 15.0
    most_bytes: int = 16 * 1024


@dataclass(frozen=True)
class Answered:
    """`body` ends after `most_bytes`; `whole`: whether that was all."""

    status: int
    body: bytes
    whole: bool


class Sender:
    """Sends to global addresses over TLS, and to what the operator has listed over either."""

    def __init__(
        self,
        listed: Sequence[Listed],
        *,
        look_up: Lookup = look_up,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._listed = listed
        self._look_up = look_up
        self._context = context or secure_context()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, limits: Limits) -> Answered:
        """Raises `NotAnswered`: not_allowed, name_not_found, timeout, tls_failed, connection_failed or
        protocol_error."""
        try:
            async with asyncio.timeout(limits.total):
                return await self._post(url, headers, body, limits)
        except NotAllowed:
            raise NotAnswered("not_allowed") from None
        except NotFound:
            raise NotAnswered("name_not_found") from None
        except (TimeoutError, httpcore.TimeoutException):
            raise NotAnswered("timeout") from None
        except (httpcore.ConnectError, httpcore.NetworkError) as error:
            failed = "tls_failed" if _is_of_tls(error) else "connection_failed"
            raise NotAnswered(failed) from None
        except (httpcore.ProtocolError, OSError):
            raise NotAnswered("protocol_error") from None

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes, limits: Limits) -> Answered:
        sent = {"host": urlsplit(url).netloc, "content-length": str(len(body))} | dict(headers)
        network = CheckedNetwork(self._listed, encrypted=url.startswith("https:"), look_up=self._look_up)
        timeouts = {
            "connect": limits.connect,
            "read": limits.read,
            "write": limits.read,
            "pool": limits.total,
        }
        async with (
            httpcore.AsyncConnectionPool(
                self._context, max_connections=1, max_keepalive_connections=0, network_backend=network
            ) as pool,
            pool.stream(
                "POST",
                url,
                headers=list(sent.items()),
                content=body,
                extensions={"timeout": timeouts},
            ) as answer,
        ):
            read = bytearray()
            async for block in answer.aiter_stream():
                read += block
                if len(read) > limits.most_bytes:
                    break
        return Answered(answer.status, bytes(read[: limits.most_bytes]), len(read) <= limits.most_bytes)


def _is_of_tls(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
