"""`python -m app.standalone` with the real API, relay and worker: start, kill, start again, stop."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.standalone.processes import descendants_of, lives
from tests.standalone.waiting import eventually


def start(tmp_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "app.standalone", "--data-dir", str(tmp_path / "lethe"), "--port", "0"]
    ready = tmp_path / "ready.json"
    ready.unlink(missing_ok=True)
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert eventually(lambda: ready.exists() or process.poll() is not None, seconds=90)
    return process


def worker_is_up(tmp_path: Path) -> bool:
    return "ready." in (tmp_path / "lethe" / "logs" / "worker1.log").read_text()


def test_the_command_survives_being_killed_and_stops_when_told(tmp_path: Path) -> None:
    with start(tmp_path) as killed:
        assert eventually(lambda: worker_is_up(tmp_path), seconds=60)
        running = descendants_of(killed.pid)
        names = " ".join(" ".join(each.cmdline()) for each in running)
        for name in ("postgres", "redis", "uvicorn", "app.relay", "celery", "billiard"):
            assert name in names
        killed.kill()
        assert killed.stdout is not None
        key = re.search(r"API key +(lethe_\w+) ", killed.stdout.read())
        assert key is not None
    assert eventually(lambda: not any(lives(each) for each in running), seconds=10)

    with start(tmp_path) as stopped:
        url = json.loads((tmp_path / "ready.json").read_text())["url"]
        request = urllib.request.Request(f"{url}/v1/models", headers={"Authorization": f"Bearer {key[1]}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        running = descendants_of(stopped.pid)
        stopped.send_signal(signal.SIGTERM)
        output, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 0
    assert key[1] not in output
    assert "the one that the first start showed on" in output
    assert output.endswith("Stopping ...\n")
    assert eventually(lambda: not any(lives(each) for each in running), seconds=5)
    assert not (tmp_path / "ready.json").exists()
