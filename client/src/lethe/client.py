"""`Client` and `AsyncClient`: the two ways of carrying the same plans out."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import anyio
import httpx
from anyio.to_thread import run_sync
from httpx_sse import EventSource

from lethe.answers import Event
from lethe.configuration import Connection, read_connection
from lethe.described import Calls
from lethe.following import Following
from lethe.plan import Ended, Exchange, Outcome, Outgoing, Pause, Plan, Sink, advance, pieces
from lethe.retrying import Retries
from lethe.sending import TIMEOUT, answer_of, headers_for, no_answer, request_of
from lethe.versions import VERSION_HEADER

T = TypeVar("T")
# Told how many bytes of a checkpoint were moved: for a progress bar.
Moved = Callable[[int], None]


class _Connected(Calls):
    """What both have: an address, a key that no `repr` shows, and how patient they are."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        profile: str | None = None,
        retries: Retries | None = None,
        moved: Moved | None = None,
    ) -> None:
        """Without `url`, speak to the service that the environment or the configuration file names."""
        connection = read_connection(profile) if url is None else Connection(url, api_key)
        self.url = connection.url
        self.server_version: str | None = None
        self._retries = retries or Retries()
        self._moved = moved or (lambda count: None)
        self._connect(base_url=self.url, headers=headers_for(connection), timeout=TIMEOUT)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def _connect(self, **options: Any) -> None:
        raise NotImplementedError

    def _heard(self, response: httpx.Response) -> httpx.Response:
        self.server_version = response.headers.get(VERSION_HEADER, self.server_version)
        return response


class Client(_Connected):
    """Speaks to one Lethe service with one API key. Use it in `with`, or `close` it."""

    _http: httpx.Client

    def _connect(self, **options: Any) -> None:
        self._http = httpx.Client(**options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def carry_out(self, plan: Plan[T]) -> T:
        """Any plan, those that you compose yourself included."""
        patient = self._retries.carry_out(plan)
        outcome: Outcome | None = None
        while not isinstance(step := advance(patient, outcome), Ended):
            outcome = self._do(step)
        return step.value

    def events(self, request: UUID | str, *, after: int = 0) -> Iterator[Event]:
        """What happens to a request, as it happens, until it has ended; `after`: but these events."""
        return self._follow(f"/v1/deletion-requests/{UUID(str(request))}/events", after)

    def job_events(self, job: UUID | str, *, after: int = 0) -> Iterator[Event]:
        """The same of a job, with its progress."""
        return self._follow(f"/v1/jobs/{UUID(str(job))}/events", after)

    def _follow(self, path: str, after: int) -> Iterator[Event]:
        following = Following(path, after, self._retries)
        while not following.over:
            outcome: Outcome | None = None
            try:
                with closing(self._send(following.attempt())) as response:
                    if response.status_code == httpx.codes.OK:
                        for sent in EventSource(response).iter_sse():
                            if event := following.received(sent):
                                yield event
                    else:
                        outcome = answer_of(response, response.read())
            except httpx.TransportError as error:
                outcome = no_answer(error, self._http.base_url)
            time.sleep(following.ended(outcome))

    def _do(self, step: Exchange | Sink | Pause) -> Outcome | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            with closing(self._send(step.attempt())) as response:
                if isinstance(step, Exchange) or response.is_error:
                    return answer_of(response, response.read())
                answer = answer_of(response)
                if file := step.open(answer):
                    with file:
                        for piece in response.iter_raw():
                            file.write(piece)
                            self._moved(len(piece))
                return answer
        except httpx.TransportError as error:
            return no_answer(error, self._http.base_url)

    def _send(self, outgoing: Outgoing) -> httpx.Response:
        content = outgoing.body if outgoing.file is None else self._read(outgoing)
        return self._heard(self._http.send(request_of(self._http, outgoing, content), stream=True))

    def _read(self, outgoing: Outgoing) -> Iterator[bytes]:
        assert outgoing.file is not None
        for piece in pieces(outgoing.file):
            yield piece
            self._moved(len(piece))


class AsyncClient(_Connected):
    """`Client` for asyncio and trio: the same methods, to be awaited. Use it in `async with`."""

    _http: httpx.AsyncClient

    def _connect(self, **options: Any) -> None:
        self._http = httpx.AsyncClient(**options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def carry_out(self, plan: Plan[T]) -> T:
        """Any plan, those that you compose yourself included. Files are read and hashed in a thread."""
        patient = self._retries.carry_out(plan)
        outcome: Outcome | None = None
        while not isinstance(step := await run_sync(advance, patient, outcome), Ended):
            outcome = await self._do(step)
        return step.value

    def events(self, request: UUID | str, *, after: int = 0) -> AsyncIterator[Event]:
        """What happens to a request, as it happens, until it has ended; `after`: but these events."""
        return self._follow(f"/v1/deletion-requests/{UUID(str(request))}/events", after)

    def job_events(self, job: UUID | str, *, after: int = 0) -> AsyncIterator[Event]:
        """The same of a job, with its progress."""
        return self._follow(f"/v1/jobs/{UUID(str(job))}/events", after)

    async def _follow(self, path: str, after: int) -> AsyncIterator[Event]:
        following = Following(path, after, self._retries)
        while not following.over:
            outcome: Outcome | None = None
            try:
                async with aclosing(await self._send(following.attempt())) as response:
                    if response.status_code == httpx.codes.OK:
                        async for sent in EventSource(response).aiter_sse():
                            if event := following.received(sent):
                                yield event
                    else:
                        outcome = answer_of(response, await response.aread())
            except httpx.TransportError as error:
                outcome = no_answer(error, self._http.base_url)
            await anyio.sleep(following.ended(outcome))

    async def _do(self, step: Exchange | Sink | Pause) -> Outcome | None:
        if isinstance(step, Pause):
            await anyio.sleep(step.seconds)
            return None
        try:
            async with aclosing(await self._send(step.attempt())) as response:
                if isinstance(step, Exchange) or response.is_error:
                    return answer_of(response, await response.aread())
                answer = answer_of(response)
                if file := step.open(answer):
                    with file:
                        async for piece in response.aiter_raw():
                            await run_sync(file.write, piece)
                            self._moved(len(piece))
                return answer
        except httpx.TransportError as error:
            return no_answer(error, self._http.base_url)

    async def _send(self, outgoing: Outgoing) -> httpx.Response:
        content = outgoing.body if outgoing.file is None else self._read(outgoing)
        return self._heard(await self._http.send(request_of(self._http, outgoing, content), stream=True))

    async def _read(self, outgoing: Outgoing) -> AsyncIterator[bytes]:
        assert outgoing.file is not None
        source = pieces(outgoing.file)
        while piece := await run_sync(next, source, b""):
            yield piece
            self._moved(len(piece))
