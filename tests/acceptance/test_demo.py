"""The demo ends by itself, or is ended; either way nothing of it goes on running."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from tests.standalone.waiting import eventually

ROOT = Path(__file__).parents[2]
MARK = "LETHE_TEST_MARK"
SECONDS_TO_VANISH = 30


def _marked(mark: str) -> list[str]:
    """Command lines of all processes that were started, however indirectly, with this mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _start(tmp_path: Path, mark: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "examples.digits", "--output", str(tmp_path / "output")],
        cwd=ROOT,
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _begun(mark: str) -> None:
    """Return once a program of PostgreSQL runs for a demo that is starting."""
    assert eventually(lambda: any("bin/postgres" in line for line in _marked(mark)), seconds=60)


@pytest.mark.parametrize(
    ("how", "line"),
    [(signal.SIGINT, "starting"), (signal.SIGTERM, "ready at"), (signal.SIGKILL, "ready at")],
)
def test_a_demo_that_is_ended_leaves_no_process(tmp_path: Path, how: signal.Signals, line: str) -> None:
    """In the middle of its start, or with everything running."""
    mark = uuid.uuid4().hex
    with _start(tmp_path, mark) as demo:
        assert demo.stdout is not None
        if not any(line in said for said in demo.stdout):
            pytest.fail(f"the demo ended with {demo.wait()} before it said {line!r}")
        if line == "starting":
            _begun(mark)
        else:
            assert len(_marked(mark)) > 5
        demo.send_signal(how)
        rest = demo.stdout.read() if how != signal.SIGKILL else ""
        code = demo.wait(timeout=60)
    if how != signal.SIGKILL:
        assert code == 130, rest
        assert "Traceback" not in rest
        assert "ready at" not in rest
    assert eventually(lambda: _marked(mark) == [], seconds=SECONDS_TO_VANISH), _marked(mark)
