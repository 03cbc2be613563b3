"""The courier: takes webhooks and callbacks to their receivers, many at a time, on a thread of its own.

A receiver may take as long as it likes, up to a limit, and none of the relay's other duties waits for it: the
courier has its own event loop, its own two connections to the database, and threads for the look-up of names.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.orm import Session, sessionmaker

from app.core.daemon_threads import in_daemon_thread
from app.core.database import OUTAGE, relay_url, sync_engine
from app.core.logging import get_logger
from app.core.settings import Settings
from app.opendsr.signing import configured_signer
from app.outbound.addresses import read_listed
from app.outbound.sending import Limits, NotAnswered, Sender
from app.relay.callbacks import CallbackRound
from app.relay.deliveries import Room
from app.relay.parcels import NotPacked, Outcome, Parcel, Round
from app.relay.webhooks import WebhookRound
from app.webhooks.secrets import master_keys

T = TypeVar("T")

RENEWALS_PER_LEASE = 3


class Courier:
    """`start` once, `wake` whenever there may be something to deliver, `stop` at the end. Whatever is under
    way then is delivered again by whoever comes next, one lease later: as long as a delivery takes, its
    courier shows that it is alive, and a receiver that is slow is not told twice for it."""

    def __init__(self, settings: Settings, sender: Sender | None = None, room: Room | None = None) -> None:
        """Raises `ValueError` when a key or the list of inner receivers cannot be read, and `OSError`."""
        self._sender = sender or Sender(read_listed(settings.webhook_inner_receivers))
        self._room = room or Room()
        self._limits = Limits(
            connect=min(5.0, settings.webhook_total_seconds),
            read=settings.webhook_total_seconds,
            total=settings.webhook_total_seconds,
        )
        self._lease = settings.lease_seconds
        self._pause = settings.sweep_seconds
        self.engine = sync_engine(settings, relay_url(settings), "lethe-relay-courier")
        self._sessions: sessionmaker[Session] = sessionmaker(self.engine)
        self._rounds: list[Round] = [WebhookRound(self._sessions, master_keys(settings), self._room)]
        callback_signer = configured_signer(settings)
        if callback_signer is not None:
            self._rounds.append(CallbackRound(self._sessions, callback_signer))
        self._connections = asyncio.Semaphore(2)
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._ended = False
        self._under_way: dict[asyncio.Task[None], tuple[Round, Parcel]] = {}
        self._in_database: set[asyncio.Future[Any]] = set()
        self._log = get_logger(__name__)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def wake(self) -> None:
        """From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    def stop(self, timeout: float) -> None:
        """Waits so many seconds at most for what is in the middle of a transaction to end it."""
        self._ended = True
        self.wake()
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            asyncio.run(self._deliver_all())
        finally:
            self.engine.dispose()  # by who used it last, however long that took

    async def _deliver_all(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        renewing = asyncio.create_task(self._renew_on())
        while not self._ended:
            self._woken.clear()
            try:
                await self._take_some()
            except OUTAGE as error:
                self._log.warning("step_failed", step="webhooks", error=type(error).__name__)
            except Exception:  # a fault of ours: the courier goes on, and says so
                self._log.exception("step_broken", step="webhooks")
                await asyncio.sleep(self._pause)
            try:
                await asyncio.wait_for(self._woken.wait(), self._pause)
            except TimeoutError:
                continue
        for task in (renewing, *self._under_way):
            task.cancel()
        # A thread cannot be cancelled: its connection comes back when it is done.
        if self._in_database:
            await asyncio.gather(*self._in_database, return_exceptions=True)

    async def _take_some(self) -> None:
        for one in self._rounds:
            free = self._room.altogether - len(self._under_way)
            if free <= 0:
                return
            for parcel in await self._with_database(partial(one.take, free, self._lease)):
                task = asyncio.create_task(self._deliver(parcel))
                self._under_way[task] = (one, parcel)
                task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
        self._woken.set()

    async def _renew_on(self) -> None:
        """What is under way stays ours."""
        while True:
            await asyncio.sleep(self._lease / RENEWALS_PER_LEASE)
            for one in self._rounds:
                ours = [parcel for of, parcel in self._under_way.values() if of is one]
                try:
                    if ours:
                        await self._with_database(partial(one.renew, ours, self._lease))
                except OUTAGE as error:
                    self._log.warning("step_failed", step="renew_deliveries", error=type(error).__name__)
                except Exception:  # a fault of ours: deliveries may be made twice for it, and it is said
                    self._log.exception("step_broken", step="renew_deliveries")

    async def _deliver(self, parcel: Parcel) -> None:
        """One attempt. When its end cannot be written down, it is made again once its time has run out."""
        log = self._log.bind(**parcel.names)
        try:
            outcome = await self._attempt(parcel)
            if outcome.code is not None:
                log.warning("delivery_failed", reason=outcome.code)
            await self._with_database(partial(parcel.settle, outcome))
        except OUTAGE as error:
            log.warning("delivery_not_noted", error=type(error).__name__)
        except Exception:
            log.exception("delivery_broken")

    async def _attempt(self, parcel: Parcel) -> Outcome:
        try:
            headers, body = parcel.pack()
            answer = await self._sender.post(parcel.url, headers, body, self._limits)
        except (NotAnswered, NotPacked) as error:
            return Outcome(code=error.code)
        except Exception:  # a fault of ours counts as an attempt, too: it must not be tried for ever
            self._log.exception("delivery_broken", **parcel.names)
            return Outcome(code="internal_error")
        code = None if 200 <= answer.status < 300 else f"http_{answer.status}"
        return Outcome(answer.status, code)

    async def _with_database(self, do: Callable[[], T]) -> T:
        async with self._connections:
            work = asyncio.ensure_future(in_daemon_thread(do))
            self._in_database.add(work)
            work.add_done_callback(self._in_database.discard)
            return await asyncio.shield(work)
