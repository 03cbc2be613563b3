"""Connecting to a name: resolved once, every address checked, and a checked address connected to.

A name that resolves to something else a moment later (DNS rebinding) changes nothing: nobody asks again. TLS
is spoken in the name's own name (SNI and certificate), because the library above begins it on the stream
that is handed back. A name with one forbidden address among its addresses is refused altogether.
"""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial

import httpcore

from app.core.daemon_threads import in_daemon_thread
from app.outbound.addresses import Address, Listed, is_listed, may_reach

Lookup = Callable[[str, int], Sequence[Address]]


class NotAllowed(Exception):
    """The receiver's address is not one that may be reached from here."""


class NotFound(Exception):
    """The receiver's name has no address."""


def look_up(host: str, port: int) -> Sequence[Address]:
    """By the system's resolver. Raises `NotFound`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotFound(host) from None
    # An address of a link (fe80::1%eth0) comes with its zone, and is refused as what it is.
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """The network as one request sees it. `encrypted`: whether what follows is TLS; without, only listed
    addresses are connected to."""

    def __init__(
        self,
        listed: Sequence[Listed],
        *,
        encrypted: bool,
        look_up: Lookup = look_up,
    ) -> None:
        self._listed = listed
        self._encrypted = encrypted
        self._look_up = look_up
        self._below = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises `NotAllowed`, `NotFound` and httpcore's errors."""
        address = await self._checked(host, port)
        return await self._below.connect_tcp(str(address), port, timeout, local_address, socket_options)

    async def _checked(self, host: str, port: int) -> Address:
        try:
            found: Sequence[Address] = [ipaddress.ip_address(host)]
        except ValueError:
            found = await in_daemon_thread(partial(self._look_up, host, port))
        if not found:
            raise NotFound(host)
        for address in found:
            if not may_reach(address, port, self._listed):
                raise NotAllowed(host)
            if not self._encrypted and not is_listed(address, port, self._listed):
                raise NotAllowed(host)
        # Where both are there, the one that is more often reachable.
        return min(found, key=lambda address: address.version)


@cache
def secure_context() -> ssl.SSLContext:
    """The system's and certifi's authorities, read once per process; at least TLS 1.2."""
    context = httpcore.default_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
