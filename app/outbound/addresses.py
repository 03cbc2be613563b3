"""Which addresses a tenant may have us reach: global ones, and those that the operator has listed.

An address that stands for another one (IPv4-mapped, 6to4, Teredo, NAT64) is refused whatever it stands for:
what translates it decides where it leads, and not we.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Of the global unicast space (RFC 4291 section 2.4), all but what the library's tables refuse and these.
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        "2002::/16",  # 6to4
        "2001::/23",  # Teredo, ORCHID and other protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "192.0.0.0/24",  # protocol assignments
        "3fff::/20",  # documentation
        "168.63.129.16/32",  # a cloud's inner services, on an address that looks global
    )
)


@dataclass(frozen=True)
class Listed:
    """A network that the operator lets tenants reach; `port`: only there."""

    network: Network
    port: int | None = None

    def has(self, address: Address, port: int) -> bool:
        return address in self.network and self.port in (None, port)


def is_global(address: Address) -> bool:
    if address.is_multicast or not address.is_global or _is_special(address):
        return False
    return isinstance(address, ipaddress.IPv4Address) or address in _UNICAST_V6


def may_reach(address: Address, port: int, listed: Sequence[Listed]) -> bool:
    return is_global(address) or is_listed(address, port, listed)


def is_listed(address: Address, port: int, listed: Sequence[Listed]) -> bool:
    return any(entry.has(address, port) for entry in listed)


def read_listed(text: str) -> tuple[Listed, ...]:
    """`10.1.0.0/16, 127.0.0.1:9000, [fd00::1]:443`. Raises `ValueError` that says which part is wrong."""
    return tuple(_read(part.strip()) for part in text.split(",") if part.strip())


def _is_special(address: Address) -> bool:
    same = [network for network in _SPECIAL if network.version == address.version]
    return address.is_reserved or any(address in network for network in same)


def _read(part: str) -> Listed:
    network, port = part, None
    if part.startswith("["):
        network, _, rest = part[1:].partition("]")
        port = rest.removeprefix(":") or None
    elif part.count(":") == 1:
        network, port = part.split(":")
    try:
        return Listed(ipaddress.ip_network(network), int(port) if port is not None else None)
    except ValueError:
        raise ValueError(
            f"{part!r} is neither a network such as 10.1.0.0/16 nor an address with a port such as "
            "10.1.2.3:8443."
        ) from None
