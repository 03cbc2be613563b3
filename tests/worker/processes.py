"""Real relay and worker processes, and how to wait for what they do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

from app.core.settings import Settings

T = TypeVar("T")

WORKER = ("-m", "celery", "-A", "worker.main", "worker", "--loglevel=INFO")
RELAY = ("-m", "app.relay")


def wait_until(look: Callable[[], T], seconds: float = 90.0) -> T:
    """What `look` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"not within {seconds} s")


@contextmanager
def process(arguments: Sequence[str], settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process in a service of these settings; it, and what it spawned, is gone at the end."""
    environment = {**os.environ, **_environment(settings)}
    with log.open("ab") as output:
        running = subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield running
    except BaseException:
        print(log.read_text(errors="replace")[-4000:])
        raise
    finally:
        children = psutil.Process(running.pid).children(recursive=True) if running.poll() is None else []
        running.kill()
        running.wait()
        for child in children:
            if child.is_running():
                child.kill()


def kill_child(parent: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the worker's child, the one that runs the job."""
    running = [
        child
        for child in psutil.Process(parent.pid).children()
        if any("spawn_main" in part for part in child.cmdline())
    ]
    assert running
    for child in running:
        child.send_signal(signal.SIGKILL)


def _environment(settings: Settings) -> dict[str, str]:
    values = settings.model_dump(mode="python", exclude={"regulations"}, exclude_none=True)
    return {
        f"LETHE_{name.upper()}": value.get_secret_value()
        if hasattr(value, "get_secret_value")
        else str(value)
        for name, value in values.items()
    }
