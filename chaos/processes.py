"""The programs of a service, each its own process, started again when they end."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

SECONDS_BETWEEN_LOOKS = 0.1


class Program:
    def __init__(self, name: str, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self._arguments = [sys.executable, *arguments]
        self._environment = os.environ | environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._arguments,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self, seconds: float) -> int:
        """The exit status. Raises `subprocess.TimeoutExpired`."""
        assert self._process is not None
        return self._process.wait(seconds)

    def tree(self) -> list[psutil.Process]:
        """The process and all that it has started, itself first."""
        if self._process is None:
            return []
        try:
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def children(self) -> list[psutil.Process]:
        """Of a worker: those that run jobs."""
        return [each for each in self.tree()[1:] if "spawn_main" in " ".join(_command_line(each))]

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def end(self) -> None:
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self._process is not None:
            self._process.wait()


class Keeper:
    """Starts again what has ended, from a thread of its own."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = programs
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        for program in self._programs:
            program.start()
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        for program in self._programs:
            program.end()

    def _keep(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            for program in self._programs:
                if not program.running:
                    program.start()


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
