"""Celery's entry point: `celery -A worker.main worker`.

Two processes. The parent talks to the broker and spawns (CUDA does not survive a fork) the child, which
runs one job at a time. A message is acknowledged before it is run: what protects a job is its lease, not
the broker. On SIGTERM the parent takes no more messages and orders the jobs of this worker, by their rows,
to be released; it ends when the child has done so. A child that is still warming up has nothing to release,
and is ended at once.
"""

import contextlib
import os
import secrets
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

from billiard.process import active_children
from celery import Celery, signals
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.core.database import sync_engine
from app.core.logging import configure_logging, get_logger
from app.core.queue import QUEUE, celery_client
from app.core.settings import get_settings
from worker.equipment import require_database
from worker.jobs.run_folders import remove_left_over
from worker.tasks import NAME_VARIABLE

SECONDS_BETWEEN_ORDERS = 1.0
END_UNLESS_WARM = signal.SIGUSR2
"""Ends a child that is still warming up; one that may have a job ignores it."""

_DRAIN = text("""
UPDATE jobs SET drain_requested_at = now()
WHERE lease_holder = :name AND status IN ('running', 'cancelling') AND drain_requested_at IS NULL
""")


def _make_app() -> Celery:
    settings = get_settings()
    require_database(settings)
    app = celery_client(settings)
    app.conf.update(
        imports=("worker.main",),  # a spawned child imports nothing else: the task and the signals below
        task_acks_late=False,
        task_default_queue=QUEUE,
        task_create_missing_queues=True,
        worker_concurrency=1,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_pool="prefork",
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=120.0,  # a spawned child imports torch before it says that it is up
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,  # control is by rows; and a flushed broker has nothing to lose
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=5,
    )
    return app


app = _make_app()


def _log_our_way(**_: Any) -> None:
    """Having a receiver here keeps Celery from setting up its own."""
    configure_logging(get_settings(), "worker")


def _name_worker(**_: Any) -> None:
    """In the parent, before it spawns: children inherit the name, and hold their leases under it."""
    os.environ[NAME_VARIABLE] = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def _be_alone(sender: Any, **_: Any) -> None:
    """Workers know nothing of each other. To ask for neighbours costs a second at each start, and again each
    time that the broker comes back: with remote control off nobody answers."""
    sender.options["without_mingle"] = sender.options["without_gossip"] = True


def _clear_up(**_: Any) -> None:
    """In the parent, before it takes jobs."""
    try:
        removed = remove_left_over(Path(get_settings().cache_folder))
    except OSError as error:
        get_logger(__name__).warning("run_folders_not_removed", error=type(error).__name__)
        return
    if removed:
        get_logger(__name__).info("run_folders_removed", folders=removed)


def _warm_up(**_: Any) -> None:
    """In the child, before it says that it is up: all that the first job would wait for, its lease running.
    The first optimizer of a process imports some eight hundred modules of torch."""
    import torch

    import worker.run  # noqa: F401

    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    signal.signal(END_UNLESS_WARM, signal.SIG_IGN)
    get_logger(__name__).info("warmed_up")


def _drain(**_: Any) -> None:
    """In the parent, inside its signal handler: the work is a thread's."""
    threading.Thread(target=_order_to_drain, name="drain", daemon=True).start()


def _order_to_drain() -> None:
    """Again and again until this process ends: the last message may be claiming a job just now."""
    log = get_logger(__name__)
    settings = get_settings()
    engine = sync_engine(settings, require_database(settings), "lethe-drain")
    while True:
        _end_cold_children()
        try:
            with engine.begin() as connection:
                ordered = connection.execute(_DRAIN, {"name": os.environ[NAME_VARIABLE]}).rowcount
            if ordered:
                log.info("drain_ordered", jobs=ordered)
        except SQLAlchemyError as error:
            log.warning("drain_not_ordered", error=type(error).__name__)
        time.sleep(SECONDS_BETWEEN_ORDERS)


def _end_cold_children() -> None:
    """The pool waits for its children, and the imports of one take seconds that nobody needs any more."""
    for child in active_children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, END_UNLESS_WARM)


signals.setup_logging.connect(_log_our_way)
signals.worker_init.connect(_name_worker)
signals.worker_init.connect(_be_alone)
signals.worker_init.connect(_clear_up)
signals.worker_process_init.connect(_warm_up)
signals.worker_shutting_down.connect(_drain)
