"""Outbox rows become wake-ups at the broker. Only here is the broker spoken to."""

from dataclasses import dataclass

from celery import Celery
from kombu.exceptions import OperationalError as BrokerAway
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import transaction
from app.core.logging import get_logger
from app.core.queue import QUEUE, celery_client, send_wake
from app.core.settings import Settings

BATCH = 100
BROKER_ERRORS = (BrokerAway, RedisError, OSError)

# Locked until they are marked as sent, so that another relay passes over them.
_UNSENT = text("""
SELECT id, job_id FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED
""")
_MARK_SENT = text("UPDATE outbox SET sent_at = clock_timestamp() WHERE id = ANY(:ids)")
_MARK_FAILED = text("""
UPDATE outbox SET failures = failures + 1
WHERE id = (SELECT id FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
""")
_MARK_DISPATCHED = text("""
UPDATE jobs SET dispatched_at = clock_timestamp()
WHERE id IN (SELECT id FROM jobs WHERE id = ANY(:job_ids) FOR NO KEY UPDATE SKIP LOCKED)
""")

# What could be claimed now, and was not dispatched since it could be, or so long ago that the wake-up must
# have come to nothing: the broker was flushed, or the worker died before it claimed.
_FORGOTTEN = text("""
SELECT job.id FROM jobs AS job
WHERE job.status = 'queued' AND job.not_before <= now()
  AND (job.dispatched_at IS NULL OR job.dispatched_at < job.not_before
       OR job.dispatched_at < now() - make_interval(secs => :patience))
  AND NOT EXISTS (SELECT FROM outbox WHERE outbox.job_id = job.id AND outbox.sent_at IS NULL)
  AND NOT EXISTS (
    SELECT FROM jobs AS other
    WHERE other.registered_model_id = job.registered_model_id
      AND other.status IN ('running', 'cancelling', 'needs_review')
  )
ORDER BY job.due_at NULLS LAST, job.created_at
LIMIT :batch
""")


def sending_client(settings: Settings) -> Celery:
    """A client that does not wait for a broker which is away: the relay has other things to do, and keeps
    what was to be sent."""
    client = celery_client(settings)
    client.conf.broker_transport_options = client.conf.broker_transport_options | {"max_retries": 0}
    return client


@dataclass(frozen=True)
class Dispatcher:
    """`patience`: seconds after which a wake-up that nobody answered is sent again."""

    sessions: sessionmaker[Session]
    broker: Celery
    patience: float

    def send_outbox(self) -> bool:
        """Send what is in the outbox; False when the broker is away. A row is marked in the transaction
        that sent it: should that not commit, it is sent twice, which does no harm."""
        while True:
            try:
                with transaction(self.sessions, "outbox") as session:
                    rows = session.execute(_UNSENT, {"batch": BATCH}).all()
                    if not rows:
                        return True
                    job_ids = list(dict.fromkeys(row.job_id for row in rows))
                    for job_id in job_ids:
                        send_wake(self.broker, job_id)
                    session.execute(_MARK_SENT, {"ids": [row.id for row in rows]})
                    session.execute(_MARK_DISPATCHED, {"job_ids": job_ids})
            except BROKER_ERRORS as error:
                get_logger(__name__).warning("broker_away", error=type(error).__name__)
                with transaction(self.sessions) as session:
                    session.execute(_MARK_FAILED)
                return False
            if len(rows) < BATCH:
                return True

    def send_forgotten(self) -> bool:
        """Wake a worker for jobs that wait in vain; False when the broker is away. Not while as many
        messages lie in the queue: then it is the workers who are busy."""
        with transaction(self.sessions) as session:
            job_ids = list(session.scalars(_FORGOTTEN, {"patience": self.patience, "batch": BATCH}))
        if not job_ids:
            return True
        try:
            missing = job_ids[: max(0, len(job_ids) - self._waiting())]
            for job_id in missing:
                send_wake(self.broker, job_id)
        except BROKER_ERRORS as error:
            get_logger(__name__).warning("broker_away", error=type(error).__name__)
            return False
        if missing:
            with transaction(self.sessions) as session:
                session.execute(_MARK_DISPATCHED, {"job_ids": missing})
            get_logger(__name__).info("woken_again", jobs=len(missing))
        return True

    def _waiting(self) -> int:
        """Messages in the broker's queue that no worker has taken."""
        with self.broker.connection_for_write() as connection:
            channel = connection.default_channel
            size: int = channel._size(QUEUE)
        return size
