"""A call as a plan: a generator that yields the exchanges it needs and is sent what came of them.

Plans do no input or output, so one description serves the synchronous and the asynchronous client. Three
parts work together: a plan says what is asked, `lethe.retrying` whether to ask again, and a client does it.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from lethe import errors

T = TypeVar("T")
PIECE = 1024 * 1024


@dataclass(frozen=True)
class Outgoing:
    """One HTTP request. `repeatable`: carrying it out twice does what carrying it out once does.

    `path` may be a whole URL of another host; the API key is then not sent along.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    file: Path | None = None
    repeatable: bool = True


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class NoAnswer:
    """The connection failed. `arrived`: whether the service may have seen the request."""

    reason: str
    arrived: bool


Outcome: TypeAlias = Answer | NoAnswer


@dataclass(frozen=True)
class Exchange:
    """Send it and read the whole answer."""

    outgoing: Outgoing

    def attempt(self) -> Outgoing:
        return self.outgoing


class Sink(Protocol):
    """Where a large answer goes. `attempt` is asked anew each time, because less may be missing by then."""

    def attempt(self) -> Outgoing: ...

    def open(self, answer: Answer) -> BinaryIO | None:
        """The file to write the body to; None when it is no part of what was asked for."""

    def kept(self) -> int:
        """How many bytes are there already."""


@dataclass(frozen=True)
class Pause:
    seconds: float


Step: TypeAlias = Exchange | Sink | Pause
Plan: TypeAlias = Generator[Step, Any, T]


@dataclass(frozen=True)
class Ended(Generic[T]):
    """What a plan came to."""

    value: T


def advance(plan: Plan[T], outcome: Outcome | None) -> Step | Ended[T]:
    """The next step. Digests are computed in here, so an event loop calls it in a thread."""
    try:
        return plan.send(outcome)
    except StopIteration as end:
        return Ended(end.value)


def ask(step: Exchange | Sink) -> Plan[Answer]:
    """The answer, if it is no error. Raises `Unreachable` and `Problem`."""
    outcome: Outcome = yield step
    if isinstance(outcome, NoAnswer):
        raise errors.Unreachable(outcome.reason)
    if outcome.status >= 400:
        raise errors.problem(outcome.status, _members(outcome))
    return outcome


def call(method: str, path: str, answer: type[T], body: Any = None, **given: Any) -> Plan[T]:
    """Send `body` as JSON and read the answer as an `answer`."""
    headers = dict(given.pop("headers", {}))
    if body is not None:
        headers["Content-Type"] = "application/json"
    content = None if body is None else msgspec.json.encode(body)
    found = yield from ask(Exchange(Outgoing(method, path, headers=headers, body=content, **given)))
    return read(found, answer)


def read(answer: Answer, kind: type[T]) -> T:
    """Raises `UnexpectedAnswer`."""
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.MsgspecError as error:
        raise errors.UnexpectedAnswer(
            f"The answer is not what this client expects ({error}). Either the address is not that of a "
            f"Lethe service, or its version is another ({answer.headers.get('lethe-version', 'unknown')})."
        ) from error


def _members(answer: Answer) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {
            "title": "Not a problem of the service",
            "detail": f"Status {answer.status} came without problem details: something between here and the "
            "service answered, or the address is not that of a Lethe service.",
        }


def pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(PIECE):
            yield piece
