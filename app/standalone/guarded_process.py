"""A command that runs under a guard, as its parent sees it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.standalone.identity import Identity

GUARD = Path(__file__).with_name("guard.py")
LARGEST_LOG = 16 * 1024 * 1024
"""Bytes; at the next start a larger log makes way for a new one."""
SECONDS_BEYOND_THE_GRACE = 10.0
"""How long a guard may take, after it has killed its command, to clear up and end."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run, and how it wants to be stopped."""

    name: str
    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of the parent; secrets belong here and never among the arguments."""
    directory: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0
    """Seconds from the stop signal to SIGKILL."""
    identity: Identity | None = None
    """The user it runs as; None is the parent's own."""
    remove_at_end: Path | None = None


class GuardedProcess:
    """Starts a command under a guard, as often as wanted, and stops it with everything it has started."""

    def __init__(self, command: Command, *, held_open: Sequence[int] = ()) -> None:
        """`held_open`: file descriptors, of a folder's lock say, kept until the command has ended."""
        self.command = command
        self._held_open = tuple(held_open)
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.command.log.parent.mkdir(parents=True, exist_ok=True)
        if self.command.log.exists() and self.command.log.stat().st_size > LARGEST_LOG:
            self.command.log.replace(self.command.log.with_name(self.command.log.name + ".1"))
        with self.command.log.open("ab") as log:
            self._guard = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    str(GUARD),
                    *self._guard_options(),
                    "--",
                    *self.command.arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.command.environment},
                start_new_session=True,
                pass_fds=self._held_open,
            )

    @property
    def running(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    @property
    def guard_pid(self) -> int | None:
        """The guard's process id; the command is its only child."""
        return None if self._guard is None else self._guard.pid

    @property
    def exit_code(self) -> int | None:
        """The command's exit status, None before it has ended."""
        return None if self._guard is None else self._guard.poll()

    def stop(self) -> None:
        """Ask the command to stop, wait for it, and kill it when its grace has passed."""
        self.ask_to_stop()
        self.wait()

    def ask_to_stop(self) -> None:
        if self._guard is not None:
            self._guard.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the command and all that it has started, without asking."""
        if self._guard is not None:
            self._guard.send_signal(signal.SIGQUIT)

    def wait(self) -> None:
        """Wait for the end of a command that was asked to stop."""
        if self._guard is None:
            return
        try:
            self._guard.wait(self.command.grace + SECONDS_BEYOND_THE_GRACE)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()

    def last_words(self) -> str:
        """The last line of the log, for the sentence that says why the command ended."""
        with contextlib.suppress(OSError):
            lines = self.command.log.read_text(errors="replace").strip().splitlines()
            return lines[-1].strip() if lines else "(nothing was logged)"
        return "(there is no log)"

    def _guard_options(self) -> list[str]:
        command = self.command
        options = [
            f"--parent={os.getpid()}",
            f"--stop-signal={int(command.stop_signal)}",
            f"--grace={command.grace}",
        ]
        if command.directory is not None:
            options.append(f"--directory={command.directory}")
        if command.identity is not None:
            options += [f"--user={command.identity.user}", f"--group={command.identity.group}"]
        if command.remove_at_end is not None:
            options.append(f"--remove={command.remove_at_end}")
        return options
