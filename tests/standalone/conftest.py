"""What the tests of the embedded deployment share."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.standalone.programs import Programs

STAND_IN = Path(__file__).with_name("stand_in.py")


def stand_ins() -> Programs:
    """Real migrations, and stand-ins for the services."""
    return Programs(
        api=(str(STAND_IN), "api"), relay=(str(STAND_IN), "relay"), worker=(str(STAND_IN), "worker")
    )


@pytest.fixture
def programs() -> Programs:
    return stand_ins()


@pytest.fixture
def stranger() -> Iterator[int]:
    """The id of a living process that has nothing to do with us."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def closed_folder(tmp_path: Path) -> Path:
    """A folder that only its owner can enter: for root's servers, which run as somebody else, an obstacle."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    assert folder.stat().st_uid == os.geteuid()
    return folder
