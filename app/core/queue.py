"""The broker. A message only wakes a worker up; PostgreSQL chooses what runs.

Only the relay sends: `send_task` blocks while Redis is away, and the API must not.
"""

import uuid

from celery import Celery

from app.core.settings import Settings

QUEUE = "lethe.jobs"
WAKE = "lethe.wake"
SECONDS_TO_ANSWER = 5.0


def celery_client(settings: Settings) -> Celery:
    """An application that can send and knows no task's code."""
    client = Celery("lethe", broker=settings.broker_url.get_secret_value())
    client.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "socket_timeout": SECONDS_TO_ANSWER,
            "socket_connect_timeout": SECONDS_TO_ANSWER,
            "visibility_timeout": 3600,
        },
    )
    return client


def send_wake(client: Celery, job_id: uuid.UUID) -> None:
    """Raises `kombu.exceptions.OperationalError` when the broker is away."""
    client.send_task(WAKE, args=[str(job_id)], queue=QUEUE, ignore_result=True, retry=False)
