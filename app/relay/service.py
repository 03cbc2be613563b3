"""The relay's loop: at once when something enters the outbox, and every few seconds anyway.

Records and webhooks have threads of their own: neither a storage that hangs, nor thousands of certificates,
nor a slow receiver may keep leases from being reclaimed and workers from being woken.
"""

import threading
import time
from collections.abc import Callable

import psycopg
from obstore.exceptions import BaseError as StorageError
from sqlalchemy import make_url
from sqlalchemy.orm import sessionmaker

from app.core.database import OUTAGE, SECONDS_TO_CONNECT, relay_url, reply_seconds, sync_engine
from app.core.logging import get_logger
from app.core.reply_timeout import Connection
from app.core.settings import Settings
from app.core.signing import configured_signer
from app.core.storage import open_storage
from app.relay.adoption import adopt_requests
from app.relay.audit_journal import AuditJournal
from app.relay.certification import Certifier
from app.relay.courier import Courier
from app.relay.deadlines import raise_alarms
from app.relay.deliveries import remove_old_deliveries
from app.relay.dispatch import Dispatcher, sending_client
from app.relay.disposal import remove_old_rows, remove_orphans
from app.relay.fan_out import fan_out
from app.relay.journal import Journal
from app.relay.leases import reclaim_expired
from app.relay.life import delete_versions, quarantine_versions, settle_destroyed
from app.relay.row_journal import journal_rows
from app.relay.row_security import switch_row_security_on
from app.relay.sealing import seal_entries, sign_checkpoints
from app.relay.unanswered import cancel_unheard, expire_approvals, expire_reviews

CHANNEL = "lethe_outbox"
LONGEST_BACKOFF = 15.0
SECONDS_BETWEEN_DISPOSALS = 20.0
SECONDS_TO_END = 1.0  # for what is under way; it is done again by whoever comes next
SECONDS_BETWEEN_ALARMS = 20.0
SECONDS_PER_DAY = 86400.0


class Relay:
    """`run` never returns; its process is ended by a signal, in the middle of whatever it does: every step
    is one transaction, which then never happened."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = relay_url(settings)
        self.engine = sync_engine(settings, self._url, "lethe-relay")
        self._sessions = sessionmaker(self.engine)
        self._storage = open_storage(settings)
        self._journal = Journal(self._sessions, self._storage)
        self._audit_journal = AuditJournal(self._sessions, self._storage)
        self._dispatcher = Dispatcher(self._sessions, sending_client(settings), settings.lease_seconds)
        self._listener: Connection | None = None
        self._broker_backoff = 0.0
        self._broker_rests_until = 0.0
        self._signer = configured_signer(settings)
        self._certifier = (
            Certifier(self._sessions, self._storage, self._signer, settings.public_url)
            if self._signer is not None
            else None
        )
        self._courier = Courier(settings)
        self._older: list[str] | None = None  # processes from before row-level security; unknown yet
        self._next_checkpoint = 0.0
        self._next_alarms = 0.0
        self._ended = threading.Event()
        self._log = get_logger(__name__)

    def run(self) -> None:
        """Listen before the first sweep, so that nothing falls between the two."""
        self._log.info("relay_started")
        if self._signer is None:
            self._log.warning("nothing_is_signed", reason="LETHE_SIGNING_KEY is not set")
        records = threading.Thread(target=self._keep_records, name="records", daemon=True)
        records.start()
        self._courier.start()
        try:
            while True:
                self._listen()
                self.sweep()
                swept = time.monotonic()
                while (left := swept + self._settings.sweep_seconds - time.monotonic()) > 0:
                    if self._notified(left):
                        self._courier.wake()
                        self._guarded("send_outbox", self._send_outbox)
        finally:
            self._ended.set()
            self._courier.stop(SECONDS_TO_END)
            records.join(SECONDS_TO_END)
            self._hang_up()
            if not records.is_alive():  # otherwise it does so when it is done
                self.engine.dispose()

    def sweep(self) -> None:
        """Everything once; a step that fails does not keep the others from being done."""
        settings = self._settings
        if self._older != []:
            self._guarded("row_security", self._switch_row_security_on)
        self._guarded("reclaim", lambda: reclaim_expired(self._sessions, settings.max_attempts))
        self._guarded("cancel", lambda: cancel_unheard(self._sessions))
        self._guarded("reviews", lambda: expire_reviews(self._sessions, settings.review_days))
        self._guarded("approvals", lambda: expire_approvals(self._sessions, settings.approval_days))
        self._guarded("destroyed", lambda: settle_destroyed(self._sessions))
        self._guarded("fan_out", lambda: fan_out(self._sessions, settings))
        self._guarded("adopt", lambda: adopt_requests(self._sessions))
        self._guarded("send_outbox", self._send_outbox)
        self._guarded("send_forgotten", self._send_forgotten)
        if time.monotonic() >= self._next_alarms:
            self._next_alarms = time.monotonic() + SECONDS_BETWEEN_ALARMS
            self._guarded("deadlines", self._raise_alarms)

    def record(self) -> None:
        """What was accepted enters the journal; what was done is certified, and the audit log sealed."""
        self._guarded("journal", self._journal.write)
        self._guarded("journal_rows", lambda: journal_rows(self._sessions, self._storage))
        if self._certifier is not None:
            self._guarded("certify", self._certifier.certify_unlearning)
            self._guarded("certify_parts", self._certifier.certify_parts)
        self._guarded("seal", lambda: seal_entries(self._sessions))
        if time.monotonic() >= self._next_checkpoint:
            self._next_checkpoint = time.monotonic() + self._settings.audit_checkpoint_seconds
            self._guarded("checkpoint", self._sign_checkpoints)
            self._guarded("audit_journal", self._audit_journal.write)

    def dispose(self) -> None:
        """Everything that can wait a little, once."""
        settings = self._settings
        self._guarded(
            "orphans",
            lambda: remove_orphans(
                self._sessions, self._storage, settings.orphan_seconds, settings.upload_seconds
            ),
        )
        self._guarded("quarantine", lambda: quarantine_versions(self._sessions))
        self._guarded("delete", lambda: delete_versions(self._sessions, self._storage))
        self._guarded(
            "old_rows",
            lambda: remove_old_rows(self._sessions, settings.idempotency_hours, settings.instance_list_days),
        )
        self._guarded(
            "old_deliveries", lambda: remove_old_deliveries(self._sessions, settings.webhook_retention_days)
        )
        if self._certifier is not None:
            self._guarded("certify_disposals", self._certifier.certify_disposals)

    def _switch_row_security_on(self) -> None:
        older = switch_row_security_on(self._sessions)
        if older and older != self._older:
            self._log.warning("row_security_waits", older_processes=older)
        self._older = older

    def _keep_records(self) -> None:
        pause = min(SECONDS_BETWEEN_DISPOSALS, max(1.0, self._settings.orphan_seconds))
        next_disposal = 0.0
        while not self._ended.is_set():
            self.record()
            if time.monotonic() >= next_disposal:
                next_disposal = time.monotonic() + pause
                self.dispose()
            self._ended.wait(max(1.0, self._settings.sweep_seconds))
        self.engine.dispose()

    def _send_outbox(self) -> None:
        self._with_broker(self._dispatcher.send_outbox)

    def _send_forgotten(self) -> None:
        self._with_broker(self._dispatcher.send_forgotten)

    def _raise_alarms(self) -> None:
        settings = self._settings
        raise_alarms(
            self._sessions,
            settings.due_warning_days * SECONDS_PER_DAY,
            settings.acknowledge_warning_days * SECONDS_PER_DAY,
        )

    def _sign_checkpoints(self) -> None:
        if self._signer is not None:
            sign_checkpoints(self._sessions, self._signer, self._settings.public_url)

    def _with_broker(self, send: Callable[[], bool]) -> None:
        """While the broker is away, ask it ever more seldom; what was to be sent stays in the database."""
        if time.monotonic() < self._broker_rests_until:
            return
        if send():
            self._broker_backoff = 0.0
            return
        self._broker_backoff = min(LONGEST_BACKOFF, max(0.5, 2 * self._broker_backoff))
        self._broker_rests_until = time.monotonic() + self._broker_backoff

    def _guarded(self, step: str, do: Callable[[], object]) -> None:
        """Do it, unless the relay is ending; when it fails, say so."""
        if self._ended.is_set():
            return
        try:
            do()
        except (*OUTAGE, StorageError) as error:
            self._log.warning("step_failed", step=step, error=type(error).__name__)
        except Exception:
            # A fault of ours in one step: the others, and the jobs that depend on them, go on.
            self._log.exception("step_broken", step=step)

    def _listen(self) -> None:
        if self._listener is not None and not self._listener.closed:
            return
        conninfo = make_url(self._url).set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            self._listener = Connection.connect(
                conninfo,
                autocommit=True,
                connect_timeout=SECONDS_TO_CONNECT,
                application_name="lethe-relay-listener",
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=15000,
                options=f"-c statement_timeout={int(self._settings.statement_timeout_seconds * 1000)}",
            )
            self._listener.reply_seconds = reply_seconds(self._settings)
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
