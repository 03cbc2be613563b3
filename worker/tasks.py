"""The one task: a wake-up. Thin: what runs, and how, is decided elsewhere.

One job per wake-up, not "until the queue is empty": between two jobs a worker that is shutting down can
stop, and messages spread over the workers. No wake-up is missing for it: every job that is opened,
released, or freed by one that settles puts a message in the outbox in that very transaction, and the relay
sends anew what came to nothing.
"""

import os
from functools import cache

from celery import shared_task

from app.core.logging import get_logger
from app.core.queue import WAKE
from app.core.settings import get_settings
from worker.equipment import Equipment, equip
from worker.jobs.watchdog import end_process

NAME_VARIABLE = "LETHE_WORKER_NAME"


@cache
def equipment() -> Equipment:
    """This process's own, opened on first use: a spawned child inherits nothing."""
    return equip(get_settings(), os.environ[NAME_VARIABLE], abandon=end_process)


def wake(job_id: str) -> None:
    """Run the most urgent job, which need not be the one that the message names. May run twice, in any
    order, and for a job that is long done."""
    from worker.run import run_next  # torch comes with it, which the parent process does without

    if not run_next(equipment()):
        get_logger(__name__).debug("nothing_to_claim", woken_for=job_id)


# Shared: a spawned child has an application object of its own, which finds the task by its name.
shared_task(name=WAKE, acks_late=False, ignore_result=True)(wake)
