"""The demo ends by itself, or is ended; either way nothing of it goes on running."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

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


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_ended_leaves_no_process(tmp_path: Path, how: signal.Signals) -> None:
    mark = uuid.uuid4().hex
    with _start(tmp_path, mark) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "ready at" in line:
                break
        else:
            pytest.fail(f"the demo ended with {demo.wait()} before it was ready")
        assert len(_marked(mark)) > 5
        demo.send_signal(how)
        rest = demo.stdout.read() if how != signal.SIGKILL else ""
        code = demo.wait(timeout=60)
    if how != signal.SIGKILL:
        assert code == 130, rest
        assert "Traceback" not in rest
    deadline = time.monotonic() + SECONDS_TO_VANISH
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
