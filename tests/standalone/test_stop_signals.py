"""A program that is told to stop ends with the exit status that it chose itself."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from app.standalone.stop_signals import Stopped, raise_on_stop_signals

hurried = []
raise_on_stop_signals(lambda: hurried.append(True))
try:
    {where}
except Stopped:
    os.kill(os.getpid(), {number})
    sys.exit(40 + len(hurried))
"""


@pytest.mark.parametrize("number", [1, 2, 15])
@pytest.mark.parametrize("where", ["{kill}", "exec('{kill}')"])
def test_the_exit_status_is_the_programs_wherever_the_signal_came(
    tmp_path: Path, number: int, where: str
) -> None:
    where = where.format(kill=f"os.kill(os.getpid(), {number})")
    (tmp_path / "stopped_program.py").write_text(PROGRAM.format(where=where, number=number))
    ended = subprocess.run(
        [sys.executable, "-m", "stopped_program"], env={"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}, timeout=60
    )
    assert ended.returncode == 41
