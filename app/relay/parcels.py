"""What the courier carries, and where it gets it from: it knows of neither webhooks nor callbacks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class NotPacked(Exception):
    """It cannot be sent now. `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Outcome:
    """Of one attempt. `code`: None when it arrived, else why not; `status`: of the answer, if one came."""

    status: int | None = None
    code: str | None = None


class Parcel(Protocol):
    """Something to be posted once. All but `pack` may ask the database; `settle` is one transaction."""

    @property
    def url(self) -> str: ...

    @property
    def names(self) -> dict[str, str | int]:
        """What the log calls it by: ids only."""

    def pack(self) -> tuple[dict[str, str], bytes]:
        """Headers and body. Raises `NotPacked`."""

    def settle(self, outcome: Outcome) -> None:
        """Write down what came of it, unless it has become somebody else's meanwhile."""


class Round(Protocol):
    """A kind of parcels."""

    def take(self, free: int, lease: float) -> Sequence[Parcel]:
        """At most `free` that are due, ours for `lease` seconds."""

    def renew(self, parcels: Sequence[Any], lease: float) -> None:
        """Those of these parcels of its own that are still ours stay so for `lease` seconds from now."""
