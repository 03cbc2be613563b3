"""Which budget a call is charged to, and what is said about it.

Header fields as in draft-ietf-httpapi-ratelimit-headers-10: items of structured fields (RFC 9651) named after
the budget, `q` its quota in calls, `w` its window in seconds, `r` what remains of it, `t` the seconds until
it is whole again.
"""

import ipaddress
from dataclasses import dataclass

from starlette.types import Scope

READS, WRITES, STRANGERS = "reads", "writes", "strangers"
_READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Budget:
    """So many calls of one caller in a window. `who`: an API key's id, or an address."""

    name: str
    who: str
    calls: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A budget after a call was charged to it. `seconds`: until it is whole again, at least 1."""

    budget: Budget
    window: int
    used: int
    seconds: int

    @property
    def is_exceeded(self) -> bool:
        return self.used > self.budget.calls

    @property
    def headers(self) -> dict[str, str]:
        name, left = self.budget.name, max(0, self.budget.calls - self.used)
        headers = {
            "RateLimit-Policy": f'"{name}";q={self.budget.calls};w={self.window}',
            "RateLimit": f'"{name}";r={left};t={self.seconds}',
        }
        return headers | ({"Retry-After": str(self.seconds)} if self.is_exceeded else {})


def kind_of(method: str) -> str:
    return READS if method in _READING else WRITES


def address_of(scope: Scope) -> str:
    """The client's; of IPv6 its /64, which is what one subscriber has (RFC 6177). Behind a proxy it is the
    proxy's, unless the server was told to trust that (uvicorn's --forwarded-allow-ips)."""
    client = scope.get("client")
    if client is None:
        return "local"
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return str(client[0])
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)
