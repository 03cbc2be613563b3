"""What dies is started again, ever more slowly, and the stop goes from the last to the first."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.standalone.guarded_process import Command, GuardedProcess
from app.standalone.supervisor import Service, Supervisor
from tests.standalone.processes import child_of, kill
from tests.standalone.waiting import eventually

RECORDS_ITS_STOP = """
import signal, sys, threading
from pathlib import Path
name, record = sys.argv[1], Path(sys.argv[2])
def stop(number, frame):
    with record.open("a") as file:
        file.write(name + "\\n")
    raise SystemExit(0)
signal.signal(signal.SIGTERM, stop)
print("up", flush=True)
threading.Event().wait()
"""
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


class Ward:
    """A supervisor and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.supervisor = Supervisor(self.said.append)

    def service(self, name: str, source: str, *arguments: str) -> Service:
        command = Command(
            name=name,
            arguments=[sys.executable, "-c", source, *arguments],
            log=self.folder / f"{name}.log",
            grace=300,
        )
        service = Service(GuardedProcess(command))
        service.resume()
        return service

    def up(self, *names: str) -> bool:
        return all("up" in (self.folder / f"{name}.log").read_text() for name in names)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(tmp_path)
    yield ward
    ward.supervisor.stop()


def test_a_killed_service_is_started_again_and_the_operator_told(ward: Ward) -> None:
    service = ward.service("relay", RECORDS_ITS_STOP, "relay", str(ward.folder / "record"))
    ward.supervisor.add(service)
    ward.supervisor.watch()
    assert eventually(lambda: ward.up("relay"))
    first = child_of(service.process.guard_pid)
    kill(first)
    assert eventually(lambda: len(ward.said) == 1)
    assert ward.said[0].startswith("relay ended with status 137; starting it again in 0.5 s")
    assert eventually(lambda: (ward.folder / "relay.log").read_text().count("up") == 2)
    assert child_of(service.process.guard_pid) != first


def test_the_delays_grow(ward: Ward) -> None:
    ward.supervisor.add(ward.service("broken", "raise SystemExit(3)"))
    ward.supervisor.watch()
    assert eventually(lambda: len(ward.said) == 3)
    assert [sentence.split(" in ")[1].split(" s")[0] for sentence in ward.said] == ["0.5", "1", "2"]


def test_the_last_group_stops_first(ward: Ward) -> None:
    record = ward.folder / "record"
    groups = (("api",), ("relay",), ("worker1", "worker2"))
    for group in groups:
        ward.supervisor.add(*(ward.service(name, RECORDS_ITS_STOP, name, str(record)) for name in group))
    assert eventually(lambda: ward.up("api", "relay", "worker1", "worker2"))
    ward.supervisor.watch()
    ward.supervisor.stop()
    stopped = record.read_text().split()
    assert sorted(stopped[:2]) == ["worker1", "worker2"]
    assert stopped[2:] == ["relay", "api"]
    assert ward.said == []


def test_hurrying_kills_what_does_not_listen(ward: Ward) -> None:
    service = ward.service("worker1", DEAF)
    ward.supervisor.add(service)
    assert eventually(lambda: ward.up("worker1"))
    service.process.ask_to_stop()
    ward.supervisor.hurry()
    ward.supervisor.stop()
    assert service.process.exit_code == 137
