"""Watch over processes: start again what ends by itself, and stop all of it in order."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from app.standalone.guarded_process import GuardedProcess
from app.standalone.refusals import StandaloneError

SECONDS_BETWEEN_LOOKS = 0.2
FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STEADY_SECONDS = 60.0
"""What has run for so long has recovered, and starts again after the first delay."""


class Supervised(Protocol):
    """What can be watched over: a server or a service."""

    @property
    def process(self) -> GuardedProcess: ...

    def resume(self) -> None:
        """Launch it again as it was."""


class Service:
    """A process that needs nothing but to be started again."""

    def __init__(self, process: GuardedProcess) -> None:
        self.process = process

    def resume(self) -> None:
        self.process.start()


class Supervisor:
    """Watches from its own thread, from `watch` until `stop`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` is told, in a sentence, of everything that ended by itself."""
        self._say = say
        self._groups: list[list[_Patient]] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, *supervised: Supervised) -> None:
        """Take charge of what has been started. The last group stops first, and its members together."""
        self._groups.append([_Patient(each, self._say) for each in supervised])

    def ended(self) -> Sequence[GuardedProcess]:
        """Those that do not run at this moment."""
        processes = [patient.supervised.process for group in self._groups for patient in group]
        return [process for process in processes if not process.running]

    def watch(self) -> None:
        self._thread = threading.Thread(target=self._look_after_them, name="supervisor", daemon=True)
        self._thread.start()

    def hurry(self) -> None:
        """Cut short a `stop` that is under way: kill everything but the servers, which are quick."""
        for group in self._groups:
            for patient in group:
                if isinstance(patient.supervised, Service):
                    patient.supervised.process.kill()

    def stop(self) -> None:
        """Stop all, group after group, the last one first."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        for group in reversed(self._groups):
            for patient in group:
                patient.supervised.process.ask_to_stop()
            for patient in group:
                patient.supervised.process.wait()

    def _look_after_them(self) -> None:
        while not self._stopping.wait(SECONDS_BETWEEN_LOOKS):
            for group in self._groups:
                for patient in group:
                    patient.look()


class _Patient:
    """One process under supervision, and how patient we are with it."""

    def __init__(self, supervised: Supervised, say: Callable[[str], None]) -> None:
        self.supervised = supervised
        self._say = say
        self._delay = FIRST_DELAY
        self._started = time.monotonic()
        self._due: float | None = None

    def look(self) -> None:
        process = self.supervised.process
        now = time.monotonic()
        if process.running:
            return
        if self._due is None:
            self._put_off(f"{process.command.name} ended with status {process.exit_code}", now)
        elif now >= self._due:
            self._due, self._started = None, now
            try:
                self.supervised.resume()
            except (StandaloneError, OSError) as error:
                self._put_off(f"{process.command.name} could not be started: {error}", now)

    def _put_off(self, reason: str, now: float) -> None:
        if now - self._started > STEADY_SECONDS:
            self._delay = FIRST_DELAY
        self._due = now + self._delay
        log = self.supervised.process.command.log
        self._say(f"{reason}; starting it again in {self._delay:g} s (log: {log})")
        self._delay = min(2 * self._delay, LONGEST_DELAY)
