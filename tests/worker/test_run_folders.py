"""Folders of runs that were killed are removed; those of living processes are not."""

import subprocess
import sys
from pathlib import Path

from worker.jobs.run_folders import remove_left_over, run_folder

HOLD = """
import sys
from pathlib import Path
from worker.jobs.run_folders import run_folder
with run_folder(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(tmp_path: Path) -> None:
    assert remove_left_over(tmp_path / "none") == 0
    with run_folder(tmp_path) as own:
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None
            left = Path(other.stdout.readline().strip())
            assert remove_left_over(tmp_path) == 0
            other.kill()
        assert left.is_dir()
        assert remove_left_over(tmp_path) == 1
        assert own.is_dir()
        assert not left.exists()
    assert not own.exists()
