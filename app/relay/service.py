"""The relay's loop: at once when something enters the outbox, and every few seconds anyway.

What talks to the storage has a thread of its own: a storage that is slow or hangs must not keep leases from
being reclaimed and workers from being woken.
"""

import threading
import time
from collections.abc import Callable

import psycopg
from obstore.exceptions import BaseError as StorageError
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import sessionmaker

from app.core.database import sync_engine
from app.core.logging import get_logger
from app.core.settings import Settings
from app.core.storage import Storage
from app.relay.adoption import adopt_requests
from app.relay.deadlines import cancel_unheard, expire_reviews
from app.relay.dispatch import Dispatcher, sending_client
from app.relay.disposal import remove_old_rows, remove_orphans
from app.relay.journal import write_journal
from app.relay.leases import reclaim_expired

CHANNEL = "lethe_outbox"
LONGEST_BACKOFF = 15.0
SECONDS_BETWEEN_DISPOSALS = 20.0


class Relay:
    """`run` never returns; its process is ended by a signal, in the middle of whatever it does: every step
    is one transaction, which then never happened."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = settings.database_url.get_secret_value()
        self._sessions = sessionmaker(sync_engine(settings, self._url, "lethe-relay"))
        self._storage = Storage(settings.storage_url)
        self._dispatcher = Dispatcher(self._sessions, sending_client(settings), settings.lease_seconds)
        self._listener: psycopg.Connection | None = None
        self._broker_backoff = 0.0
        self._broker_rests_until = 0.0
        self._ended = threading.Event()
        self._log = get_logger(__name__)

    def run(self) -> None:
        """Listen before the first sweep, so that nothing falls between the two."""
        self._log.info("relay_started")
        disposal = threading.Thread(target=self._tend_the_storage, name="storage", daemon=True)
        disposal.start()
        try:
            while True:
                self._listen()
                self.sweep()
                swept = time.monotonic()
                while (left := swept + self._settings.sweep_seconds - time.monotonic()) > 0:
                    if self._notified(left):
                        self._guarded("send_outbox", self._send_outbox)
        finally:
            self._ended.set()
            disposal.join(timeout=1.0)
            self._hang_up()
            self._sessions.kw["bind"].dispose()

    def sweep(self) -> None:
        """Everything once; a step that fails does not keep the others from being done."""
        settings = self._settings
        self._guarded("reclaim", lambda: reclaim_expired(self._sessions, settings.max_attempts))
        self._guarded("cancel", lambda: cancel_unheard(self._sessions))
        self._guarded("reviews", lambda: expire_reviews(self._sessions, settings.review_days))
        self._guarded("adopt", lambda: adopt_requests(self._sessions))
        self._guarded("send_outbox", self._send_outbox)
        self._guarded("send_forgotten", self._send_forgotten)

    def journal(self) -> None:
        """What was accepted enters the storage's journal."""
        while self._guarded("journal", lambda: write_journal(self._sessions, self._storage)):
            pass

    def dispose(self) -> None:
        """Everything that is only tidiness, once."""
        settings = self._settings
        self._guarded(
            "orphans",
            lambda: remove_orphans(
                self._sessions, self._storage, settings.orphan_seconds, settings.upload_seconds
            ),
        )
        self._guarded("old_rows", lambda: remove_old_rows(self._sessions, settings.idempotency_hours))

    def _tend_the_storage(self) -> None:
        pause = min(SECONDS_BETWEEN_DISPOSALS, max(1.0, self._settings.orphan_seconds))
        next_disposal = 0.0
        while not self._ended.is_set():
            self.journal()
            if time.monotonic() >= next_disposal:
                next_disposal = time.monotonic() + pause
                self.dispose()
            self._ended.wait(max(1.0, self._settings.sweep_seconds))

    def _send_outbox(self) -> None:
        self._with_broker(self._dispatcher.send_outbox)

    def _send_forgotten(self) -> None:
        self._with_broker(self._dispatcher.send_forgotten)

    def _with_broker(self, send: Callable[[], bool]) -> None:
        """While the broker is away, ask it ever more seldom; what was to be sent stays in the database."""
        if time.monotonic() < self._broker_rests_until:
            return
        if send():
            self._broker_backoff = 0.0
            return
        self._broker_backoff = min(LONGEST_BACKOFF, max(0.5, 2 * self._broker_backoff))
        self._broker_rests_until = time.monotonic() + self._broker_backoff

    def _guarded(self, step: str, do: Callable[[], object]) -> object:
        """What `do` returns; None when it failed."""
        try:
            return do()
        except SQLAlchemyError as error:
            self._log.warning("step_failed", step=step, error=type(error).__name__)
        except StorageError as error:
            self._log.warning("step_failed", step=step, error=type(error).__name__)
        except Exception:
            # A fault of ours in one step: the others, and the jobs that depend on them, go on.
            self._log.exception("step_broken", step=step)
        return None

    def _listen(self) -> None:
        if self._listener is not None and not self._listener.closed:
            return
        conninfo = make_url(self._url).set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            self._listener = psycopg.connect(
                conninfo,
                autocommit=True,
                connect_timeout=5,
                application_name="lethe-relay-listener",
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=15000,
                options=f"-c statement_timeout={int(self._settings.statement_timeout_seconds * 1000)}",
            )
            self._listener.execute(f"LISTEN {CHANNEL}")
        except psycopg.Error as error:
            self._log.warning("not_listening", error=type(error).__name__)
            self._listener = None

    def _notified(self, seconds: float) -> bool:
        """Wait for a notification; without a connection just wait, for the sweep to bring one."""
        if self._listener is None:
            time.sleep(seconds)
            return False
        try:
            return any(True for _ in self._listener.notifies(timeout=seconds, stop_after=1))
        except psycopg.Error as error:
            self._log.warning("not_listening", error=type(error).__name__)
            self._hang_up()
            return False

    def _hang_up(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
