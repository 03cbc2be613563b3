"""A guarded process ends when it is told to, and never outlives its parent."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.standalone.guarded_process import Command, GuardedProcess
from tests.standalone.conftest import STAND_IN
from tests.standalone.processes import kill, mentioning
from tests.standalone.waiting import eventually

PARENT = """
import sys, time
from pathlib import Path
from app.standalone.guarded_process import Command, GuardedProcess
command = Command(name="worker", arguments=sys.argv[2:], log=Path(sys.argv[1]))
GuardedProcess(command).start()
time.sleep(600)
"""

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""


def python(tmp_path: Path, source: str, *arguments: str, grace: float = 10.0) -> GuardedProcess:
    """A guarded interpreter that runs `source`, with the test's folder among its arguments to be found by."""
    command = [sys.executable, "-c", source, str(tmp_path), *arguments]
    return GuardedProcess(Command(name="test", arguments=command, log=tmp_path / "log", grace=grace))


def log_of(tmp_path: Path) -> str:
    log = tmp_path / "log"
    return log.read_text() if log.exists() else ""


@pytest.mark.parametrize(
    ("source", "status"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 128 + 9), ("", 0)],
)
def test_the_exit_status_is_passed_on(tmp_path: Path, source: str, status: int) -> None:
    process = python(tmp_path, source)
    process.start()
    process.wait()
    assert process.exit_code == status


def test_a_command_that_cannot_be_started_is_named_in_the_log(tmp_path: Path) -> None:
    process = GuardedProcess(Command(name="test", arguments=["/no/such/program"], log=tmp_path / "log"))
    process.start()
    process.wait()
    assert process.exit_code == 127
    assert "/no/such/program could not be started" in process.last_words()


def test_stopping_sends_the_stop_signal(tmp_path: Path) -> None:
    process = GuardedProcess(
        Command(
            name="test",
            arguments=["tail", "-f", str(tmp_path / "log")],
            log=tmp_path / "log",
            stop_signal=signal.SIGINT,
        )
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a shell's background
    process.start()
    signal.signal(signal.SIGINT, before)
    assert eventually(lambda: any(each.name() == "tail" for each in mentioning(tmp_path)))
    process.stop()
    assert process.exit_code == 128 + signal.SIGINT


def test_a_command_that_ignores_the_stop_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    process = python(tmp_path, DEAF, grace=0.2)
    process.start()
    assert eventually(lambda: "up" in log_of(tmp_path))
    process.stop()
    assert process.exit_code == 128 + signal.SIGKILL


def test_killing_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    process = python(tmp_path, DEAF, grace=300)
    process.start()
    assert eventually(lambda: "up" in log_of(tmp_path))
    process.ask_to_stop()
    process.kill()
    assert eventually(lambda: process.exit_code == 128 + signal.SIGKILL)


def test_what_the_command_left_in_other_sessions_is_killed(tmp_path: Path) -> None:
    source = (
        "import subprocess, sys; "
        "subprocess.Popen(['sleep', '600'], cwd=sys.argv[1], start_new_session=True, stdout=-3)"
    )
    process = python(tmp_path, source)
    process.start()
    process.wait()
    assert process.exit_code == 0
    assert mentioning(tmp_path) == []


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    command = [sys.executable, str(STAND_IN), "worker", str(tmp_path)]
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "log"), *command]) as parent:
        assert eventually(lambda: len(mentioning(tmp_path)) == 4)  # parent, guard, worker, its stubborn child
        parent.kill()
    assert eventually(lambda: mentioning(tmp_path) == [], seconds=10)


def test_a_killed_guard_takes_its_command_along(tmp_path: Path) -> None:
    process = python(tmp_path, "print('up', flush=True); import time; time.sleep(600)")
    process.start()
    assert eventually(lambda: "up" in log_of(tmp_path))
    kill(next(each.pid for each in mentioning(tmp_path) if "guard.py" in " ".join(each.cmdline())))
    assert eventually(lambda: mentioning(tmp_path) == [])
    assert not process.running
