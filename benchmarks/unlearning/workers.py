"""Worker processes of one thread each, a progress bar, and a Ctrl-C that loses nothing."""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from worker.engine.contract import Interrupted, Monitor

Work = TypeVar("Work")
Result = TypeVar("Result")

_stop: Event | None = None


class Stoppable:
    """A `Monitor` that watches nothing but the order to stop."""

    def progress(self, done: int, total: int, note: str) -> None:
        if _stop is not None and _stop.is_set():
            raise Interrupted

    def save(self, snapshot: Mapping[str, Any]) -> None:
        return None

    def resume(self) -> Mapping[str, Any] | None:
        return None


class Workers:
    """A pool of processes, or this very process for none."""

    def __init__(self, processes: int, console: Console) -> None:
        self.processes = processes
        self.console = console
        self.failures: list[str] = []

    def each(
        self,
        title: str,
        works: Sequence[Work],
        call: Callable[[Work, Monitor], Result],
        finished: Callable[[Work, Result], None],
    ) -> bool:
        """Call `call` (a module's function) on every work; `finished` is called here, one at a time.

        False if the user stopped it. What fails is printed, kept in `failures`, and does not stop the others.
        """
        if not works:
            return True
        columns = (
            TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self.console) as bar:
            task = bar.add_task(title, total=len(works))

            def settle(work: Work, get: Callable[[], Result]) -> None:
                try:
                    finished(work, get())
                except Interrupted:
                    return
                except Exception:
                    self.failures.append(f"{work}\n{traceback.format_exc()}")
                    bar.console.print(f"[red]failed[/red] {work}")
                bar.advance(task)

            if self.processes == 0:
                return self._here(works, call, settle)
            return self._in_pool(works, call, settle)

    def _here(
        self,
        works: Sequence[Work],
        call: Callable[[Work, Monitor], Result],
        settle: Callable[[Work, Callable[[], Result]], None],
    ) -> bool:
        monitor = Stoppable()
        try:
            for work in works:
                settle(work, lambda work=work: call(work, monitor))  # type: ignore[misc]
        except KeyboardInterrupt:
            return False
        return True

    def _in_pool(
        self,
        works: Sequence[Work],
        call: Callable[[Work, Monitor], Result],
        settle: Callable[[Work, Callable[[], Result]], None],
    ) -> bool:
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        pool = ProcessPoolExecutor(self.processes, context, _begin, (stop,))
        waiting: dict[Future[Result], Work] = {pool.submit(_call, call, work): work for work in works}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    settle(waiting.pop(future), future.result)
        except KeyboardInterrupt:
            self.console.print("Stopping; what is finished is kept …")
            return False
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        return True


def _begin(stop: Event) -> None:
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    torch.set_num_threads(1)


def _call(call: Callable[[Work, Monitor], Result], work: Work) -> Result:
    return call(work, Stoppable())
