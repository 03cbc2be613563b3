"""Run one command so that neither it nor its descendants outlive whoever started it.

    python guard.py --parent PID --stop-signal N --grace SECONDS [...] -- COMMAND ...

The guard stands between a parent (the supervisor, a test session) and a command (PostgreSQL, Redis, a
service):

- SIGTERM or SIGINT to the guard asks the command to stop with its own stop signal, and kills it after the
  grace period; SIGQUIT kills it at once.
- When the parent is gone, however it died, the guard does the same with a short grace. It looks at its
  parent's id instead of asking the kernel for a signal (PR_SET_PDEATHSIG), because that signal follows the
  *thread* that forked, and the parent may start commands from any thread.
- If the guard itself is killed, the kernel sends the stop signal to the command. Here PR_SET_PDEATHSIG is
  right: the guard has one thread, and sets it after the change of user, which would clear it.
- The guard adopts orphans (PR_SET_CHILD_SUBREAPER), so that it can kill what the command left behind, in
  whatever session that hides.

It ends with the command's exit status (128 + n for signal n). It is a file to run, not to import: it loads
nothing but the standard library, so that it starts in a few hundredths of a second. Linux only.
"""

import argparse
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

SECONDS_BETWEEN_LOOKS = 0.5
ORPHAN_GRACE = 4.0
"""Seconds the command gets to stop once nobody waits for it any more."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STOP_ORDERS = {signal.SIGTERM, signal.SIGINT}
KILL_ORDER = signal.SIGQUIT
WATCHED = STOP_ORDERS | {KILL_ORDER, signal.SIGCHLD}


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    if os.getppid() != options.parent:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        command = _start(options, libc)
        if command is None:
            return 127
        status = _watch(command, options.parent, options.stop_signal, options.grace)
        _kill_what_is_left()
        return status
    finally:
        if options.remove:
            shutil.rmtree(options.remove, ignore_errors=True)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a command that must not outlive its parent.")
    parser.add_argument("--parent", type=int, required=True, help="process id whose end ends the command")
    parser.add_argument("--stop-signal", type=int, default=int(signal.SIGTERM))
    parser.add_argument(
        "--grace", type=float, default=10.0, help="seconds between the stop signal and SIGKILL"
    )
    parser.add_argument("--directory", help="working directory, entered before the change of user")
    parser.add_argument("--user", type=int)
    parser.add_argument("--group", type=int)
    parser.add_argument("--remove", help="folder to remove once the command has ended")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def _start(options: argparse.Namespace, libc: ctypes.CDLL) -> int | None:
    """The command's process id; None, with the reason on stderr, when it can't be started."""
    guard = os.getpid()

    def tie_to_the_guard() -> None:
        libc.prctl(PR_SET_PDEATHSIG, options.stop_signal, 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)
        # Ignored signals are inherited, and a shell ignores SIGINT for what it starts in the background.
        signal.signal(options.stop_signal, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)

    try:
        process = subprocess.Popen(
            options.command,
            stdin=subprocess.DEVNULL,
            cwd=options.directory,
            user=options.user,
            group=options.group,
            extra_groups=None if options.user is None else [],
            start_new_session=True,
            preexec_fn=tie_to_the_guard,
        )
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{options.command[0]} could not be started: {error}", file=sys.stderr, flush=True)
        return None
    return process.pid


def _watch(command: int, parent: int, stop_signal: int, grace: float) -> int:
    """Wait for the command's end, and bring it about when told to or when the parent has gone."""
    deadline: float | None = None
    while True:
        received = signal.sigtimedwait(WATCHED, SECONDS_BETWEEN_LOOKS)
        status = _reap(command)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        order = None if received is None else received.si_signo
        orphaned = os.getppid() != parent
        if orphaned:
            grace = min(grace, ORPHAN_GRACE)
        if deadline is None and (order in STOP_ORDERS or orphaned):
            os.kill(command, stop_signal)
            deadline = time.monotonic() + grace
        if order == KILL_ORDER or (deadline is not None and time.monotonic() > deadline):
            os.kill(command, signal.SIGKILL)


def _reap(command: int) -> int | None:
    """Collect every child that has ended, adopted ones too; the command's wait status when it is among
    them."""
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if ended == command:
            return status
        if ended == 0:
            return None


def _kill_what_is_left() -> None:
    """Kill the descendants that the command left behind; each death hands its own children to the guard."""
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended == 0:
            for child in _children():
                os.kill(child, signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, SECONDS_BETWEEN_LOOKS)


def _children() -> list[int]:
    """The direct children, from each process's own record of its parent. None of them can vanish: we reap
    them."""
    children = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as record:
                parent = int(record.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == os.getpid():
            children.append(int(name))
    return children


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
