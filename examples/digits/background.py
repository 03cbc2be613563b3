"""Training in a thread of its own, with a bar, stopped at once when the journey ends early."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.progress import Progress, TaskID
from torch import nn

from worker.engine.contract import Interrupted, Monitor


class InBackground:
    """Starts `work` at once. It is its own monitor: it hears of progress and passes a stop order on."""

    def __init__(self, work: Callable[[Monitor], nn.Module]) -> None:
        self._stopped = threading.Event()
        self._network: nn.Module | None = None
        self._error: Exception | None = None
        self._started = time.monotonic()
        self.seconds = 0.0
        self._bar: Progress | None = None
        self._line = TaskID(0)
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def show(self, bar: Progress, note: str) -> None:
        """From now on, show how far it is."""
        self._line = bar.add_task(note, total=1)
        self._bar = bar

    def wait(self) -> nn.Module:
        """The network, once it is there. Raises what the work raised."""
        while self._thread.is_alive():  # so that a signal is heard
            self._thread.join(0.1)
        if self._error is not None:
            raise self._error
        assert self._network is not None
        return self._network

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def progress(self, done: int, total: int, note: str) -> None:
        if self._bar is not None:
            self._bar.update(self._line, completed=done, total=total)
        if self._stopped.is_set():
            raise Interrupted

    def save(self, snapshot: Mapping[str, Any]) -> None:
        return None

    def resume(self) -> None:
        return None

    def _run(self, work: Callable[[Monitor], nn.Module]) -> None:
        try:
            self._network = work(self)
        except Exception as error:  # handed to `wait`, which raises it
            self._error = error
        self.seconds = time.monotonic() - self._started
