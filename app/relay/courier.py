"""The courier: takes webhook deliveries to their receivers, many at a time, on a thread of its own.

A receiver may take as long as it likes, up to a limit, and none of the relay's other duties waits for it: the
courier has its own event loop, its own two connections to the database, and its own threads for names.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import sync_engine
from app.core.logging import get_logger
from app.core.settings import Settings
from app.outbound.addresses import read_listed
from app.outbound.sending import Limits, NotAnswered, Sender
from app.relay import deliveries
from app.relay.deliveries import Failure, Room, Taken
from app.webhooks.messages import body_of, signed_headers
from app.webhooks.retrying import pause_after
from app.webhooks.secrets import master_keys, signing_secrets

T = TypeVar("T")

GONE = 410
# Beyond the time that a receiver may take, until a delivery counts as lost with its relay.
LEASE_MARGIN = 45.0


class Courier:
    """`start` once, `wake` whenever there may be something to deliver, `stop` at the end. Whatever is under
    way then is delivered again by whoever comes next."""

    def __init__(self, settings: Settings, sender: Sender | None = None, room: Room | None = None) -> None:
        """Raises `ValueError` when a key or the list of inner receivers cannot be read."""
        self._keys = master_keys(settings)
        self._sender = sender or Sender(read_listed(settings.webhook_inner_receivers))
        self._room = room or Room()
        self._limits = Limits(
            connect=min(5.0, settings.webhook_total_seconds),
            read=settings.webhook_total_seconds,
            total=settings.webhook_total_seconds,
        )
        self._lease = settings.webhook_total_seconds + LEASE_MARGIN
        self._pause = settings.sweep_seconds
        engine = sync_engine(settings, settings.database_url.get_secret_value(), "lethe-relay-courier")
        self._sessions: sessionmaker[Session] = sessionmaker(engine)
        self._database = ThreadPoolExecutor(2, thread_name_prefix="deliveries")
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._ended = False
        self._under_way: set[asyncio.Task[None]] = set()
        self._log = get_logger(__name__)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def wake(self) -> None:
        """From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    def stop(self, timeout: float = 1.0) -> None:
        self._ended = True
        self.wake()
        self._thread.join(timeout)
        self._sender.close()
        self._database.shutdown(wait=False, cancel_futures=True)
        self._sessions.kw["bind"].dispose()

    def _run(self) -> None:
        asyncio.run(self._deliver_all())

    async def _deliver_all(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        while not self._ended:
            self._woken.clear()
            try:
                await self._take_some()
            except SQLAlchemyError as error:
                self._log.warning("step_failed", step="webhooks", error=type(error).__name__)
            except Exception:  # a fault of ours: the courier goes on, and says so
                self._log.exception("step_broken", step="webhooks")
                await asyncio.sleep(self._pause)
            try:
                await asyncio.wait_for(self._woken.wait(), self._pause)
            except TimeoutError:
                continue
        for task in self._under_way:
            task.cancel()

    async def _take_some(self) -> None:
        free = self._room.altogether - len(self._under_way)
        if free <= 0:
            return
        for taken in await self._with_database(
            partial(deliveries.take, self._sessions, self._room, free, self._lease)
        ):
            task = asyncio.create_task(self._deliver(taken))
            self._under_way.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._woken.set()

    async def _deliver(self, taken: Taken) -> None:
        """One attempt. When its end cannot be written down, it is made again once its time has run out."""
        log = self._log.bind(webhook_id=str(taken.endpoint_id), event_id=taken.event.id)
        try:
            end = await self._attempt(taken)
            await self._with_database(end)
        except SQLAlchemyError as error:
            log.warning("delivery_not_noted", error=type(error).__name__)
        except Exception:
            log.exception("delivery_broken")

    async def _attempt(self, taken: Taken) -> Callable[[], None]:
        """What is to be written down of it."""
        if not self._keys:
            return self._failed(taken, "no_webhook_key", None)
        body = body_of(taken.event)
        secrets = signing_secrets(
            self._keys, taken.endpoint_id, taken.secret_generation, previous=taken.previous
        )
        try:
            answer = await self._sender.post(
                taken.url, signed_headers(taken.event.id, body, secrets), body, self._limits
            )
        except NotAnswered as error:
            return self._failed(taken, error.code, None)
        if answer.status == GONE:
            return partial(deliveries.gone, self._sessions, taken)
        if 200 <= answer.status < 300:
            return partial(deliveries.delivered, self._sessions, taken, answer.status)
        return self._failed(taken, f"http_{answer.status}", answer.status)

    def _failed(self, taken: Taken, code: str, status: int | None) -> Callable[[], None]:
        pause = pause_after(taken.attempts + 1)
        self._log.warning(
            "delivery_given_up" if pause is None else "delivery_failed",
            webhook_id=str(taken.endpoint_id),
            event_id=taken.event.id,
            attempt=taken.attempts + 1,
            reason=code,
        )
        return partial(deliveries.failed, self._sessions, taken, Failure(code, status, pause))

    async def _with_database(self, do: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._database, do)
