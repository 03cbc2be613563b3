"""A whole deployment: real servers and migrations, stand-ins for the services."""

import os
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import psycopg
import pytest

from app.standalone.data_folder import DataFolder
from app.standalone.deployment import EmbeddedDeployment
from app.standalone.environment import MODEL_SIGNING_KEY, OWNER_URL, SIGNING_KEY, WORKER_URL
from app.standalone.folder_lock import FolderLock
from app.standalone.ports import free_port
from app.standalone.programs import Programs
from app.standalone.refusals import StandaloneError
from tests.standalone import run_with_stand_ins
from tests.standalone.conftest import STAND_IN
from tests.standalone.processes import lives, mentioning
from tests.standalone.waiting import eventually


def deployment_in(folder: Path, programs: Programs, allowed: Path | None = None) -> EmbeddedDeployment:
    return EmbeddedDeployment(
        folder, programs=programs, durable=False, allowed_roots=[] if allowed is None else [allowed]
    )


def query(deployment: EmbeddedDeployment, statement: str) -> list[tuple[object, ...]]:
    url = deployment.environment[OWNER_URL].replace("+psycopg", "")
    with psycopg.connect(url, options="-c lethe.everyone=on") as connection:
        return connection.execute(statement.encode()).fetchall()


def test_a_second_start_keeps_everything_but_shows_no_key(tmp_path: Path, programs: Programs) -> None:
    with deployment_in(tmp_path / "lethe", programs) as first:
        with urllib.request.urlopen(first.url, timeout=5) as answer:
            assert answer.status == 200
        assert first.api_key is not None
        assert first.api_key.startswith("lethe_")
        keys = query(first, "SELECT id FROM api_keys")
        assert len(keys) == 1
        shell = first.folder.environment
        assert stat.S_IMODE(shell.stat().st_mode) == 0o600
    assert not shell.exists()
    more = tmp_path / "more of it"
    with deployment_in(tmp_path / "lethe", programs, allowed=more) as second:
        assert second.api_key is None
        assert second.api_key_handed_out_at is not None
        assert query(second, "SELECT id FROM api_keys") == keys
        (roots,) = query(second, "SELECT name, allowed_roots FROM tenants")
        assert roots == ("default", [f"file://{second.folder.data}", f"file://{more}"])
        for kept in ("LETHE_HASH_KEY", "LETHE_HASH_KEY_ID", "LETHE_STORAGE_URL"):
            assert first.environment[kept] == second.environment[kept]
    assert mentioning(tmp_path) == []


def test_each_service_gets_the_database_url_of_its_own_role_only(tmp_path: Path, programs: Programs) -> None:
    with deployment_in(tmp_path / "lethe", programs):
        assert eventually(lambda: {"api", "relay", "worker", "stubborn"} == set(services()))
        seen = {role: process.environ() for role, process in services().items()}
        assert not any(environment[OWNER_URL] for environment in seen.values())
        assert not any(seen[role][WORKER_URL] for role in ("api", "relay"))
        assert [role for role in sorted(seen) if seen[role][SIGNING_KEY]] == ["relay"]
        assert [role for role in sorted(seen) if seen[role][MODEL_SIGNING_KEY]] == ["stubborn", "worker"]
        arguments = " ".join(" ".join(each.cmdline()) for each in mentioning(tmp_path))
        assert not any(
            each in arguments for each in (seen["api"]["LETHE_HASH_KEY"], "redis://", "postgresql+")
        )


def services() -> dict[str, psutil.Process]:
    """The stand-ins that run, by role."""
    found = [each for each in mentioning(STAND_IN) if "guard.py" not in " ".join(each.cmdline())]
    return {each.cmdline()[2]: each for each in found}


def test_a_killed_deployment_leaves_nothing_running_and_starts_again(
    tmp_path: Path, programs: Programs
) -> None:
    command = [sys.executable, "-m", run_with_stand_ins.__name__, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=STAND_IN.parents[2]) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline().startswith("http://127.0.0.1:")
        running = mentioning(tmp_path)
        assert {"postgres", "redis-server"} <= {each.name() for each in running}
        killed.kill()
    with deployment_in(tmp_path, programs) as again:
        assert again.api_key is None
        # The lock is let go of at the very end of a guard, an instant before the guard itself is gone.
        assert eventually(lambda: not any(lives(each) for each in running), seconds=5)
    assert eventually(lambda: mentioning(tmp_path) == [], seconds=10)


def test_a_service_that_ends_at_once_stops_the_start(tmp_path: Path) -> None:
    broken = Programs(api=(str(STAND_IN), "broken"), relay=(str(STAND_IN), "relay"))
    deployment = EmbeddedDeployment(tmp_path, programs=broken, durable=False, workers=0)
    with pytest.raises(
        StandaloneError, match=r"api ended with status 3 while starting: No module named 'every"
    ):
        deployment.start()
    assert mentioning(tmp_path) == []
    assert deployment.api_key_handed_out_at is None


def test_a_migration_that_fails_stops_the_start(tmp_path: Path) -> None:
    broken = Programs(migrations=(str(STAND_IN), "broken"))
    with pytest.raises(StandaloneError, match=r"could not be brought up to date: No module"):
        EmbeddedDeployment(tmp_path, programs=broken, durable=False).start()
    assert mentioning(tmp_path) == []


def run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.standalone", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def refused(answer: subprocess.CompletedProcess[str]) -> str:
    """The one sentence on standard error."""
    assert answer.returncode == 1
    (sentence,) = answer.stderr.splitlines()
    return sentence


def test_a_taken_port_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused(run_command("--data-dir", tmp_path / "lethe", "--port", port)) == (
            f"Port {port} of 127.0.0.1 can't be used (Address already in use): "
            "choose another one with --port."
        )


def test_a_second_deployment_in_the_folder_is_refused_in_a_sentence(tmp_path: Path) -> None:
    first = FolderLock(DataFolder(tmp_path).lock)
    first.acquire()
    assert refused(run_command("--data-dir", tmp_path, "--port", "0")) == (
        f"Another Lethe (process {os.getpid()}) already uses {tmp_path}: "
        "stop it, or choose another folder with --data-dir."
    )
    first.release()


def test_an_unusable_folder_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = refused(run_command("--data-dir", tmp_path / "file" / "x", "--port", str(free_port())))
    assert sentence.endswith("can't be written to (Not a directory): choose another one with --data-dir.")


def test_the_help_says_what_happens() -> None:
    answer = run_command("--help")
    assert answer.returncode == 0
    assert "--data-dir" in answer.stdout
    assert "PostgreSQL, Redis, API, relay and workers" in answer.stdout
