"""Processes that are stopped for a while, and go on as if nothing had been: what a machine that is paused, or
whose disk hangs, looks like from outside."""

import contextlib
import signal
from collections.abc import Iterator, Sequence

import psutil

from app.standalone.postgres import PostgresServer


def signal_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


@contextlib.contextmanager
def frozen(processes: Sequence[psutil.Process]) -> Iterator[None]:
    signal_all(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(processes, signal.SIGCONT)


@contextlib.contextmanager
def frozen_postgres(server: PostgresServer) -> Iterator[None]:
    """The kernel goes on taking connections and acknowledging what is sent; nobody reads it. The postmaster
    is stopped first, so that it starts nobody after the others were counted."""
    [postmaster] = psutil.Process(server.process.guard_pid).children()
    with frozen([postmaster]), frozen(postmaster.children(recursive=True)):
        yield
