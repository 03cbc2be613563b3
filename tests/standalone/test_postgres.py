"""A PostgreSQL of our own: reachable by password only, durable, and content with any folder."""

import os
import shutil
import stat
from pathlib import Path

import psycopg
import pytest

from app.standalone.postgres import PostgresServer
from app.standalone.postgres_binaries import find_postgres
from app.standalone.refusals import StandaloneError
from tests.standalone.processes import child_of, kill, mentioning
from tests.standalone.waiting import eventually


@pytest.fixture
def running(closed_folder: Path) -> PostgresServer:
    """A server, not durable, in a folder that is closed to others."""
    return PostgresServer(closed_folder / "postgres", durable=False)


def remember(server: PostgresServer) -> None:
    with server.connect() as connection:
        connection.execute("CREATE TABLE remembered AS SELECT 42 AS answer")


def remembers(server: PostgresServer) -> bool:
    with server.connect() as connection:
        return connection.execute("SELECT answer FROM remembered").fetchall() == [(42,)]


def postmaster(server: PostgresServer) -> int:
    return int((server.folder / "cluster" / "postmaster.pid").read_text().split()[0])


def test_only_a_password_opens_it(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        with server.connect() as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
            assert connection.execute("SHOW fsync").fetchone() == ("off",)
        wrong = server.url("postgres", "wrong", "postgres").replace("+psycopg", "")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
        none = wrong.replace(":wrong", "")
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(none)


def test_it_never_runs_as_root_and_opens_no_folder(closed_folder: Path, running: PostgresServer) -> None:
    with running:
        owner = (running.folder / "cluster").stat().st_uid
        assert owner != 0
        assert Path(f"/proc/{postmaster(running)}").stat().st_uid == owner
        assert stat.S_IMODE(running.folder.stat().st_mode) == 0o700
    assert closed_folder.stat().st_uid == os.geteuid()
    assert stat.S_IMODE(closed_folder.stat().st_mode) == 0o700


def test_a_second_start_finds_the_data(running: PostgresServer) -> None:
    with running:
        remember(running)
    with PostgresServer(running.folder) as again, again.connect() as connection:
        assert remembers(again)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    assert again.process.exit_code == 0


def test_it_resumes_on_its_port_after_it_was_killed(closed_folder: Path) -> None:
    with PostgresServer(closed_folder / "postgres") as running:
        remember(running)
        kill(postmaster(running))
        assert eventually(lambda: not running.process.running)
        url = running.superuser_url
        running.resume()
        assert eventually(lambda: answers(url))
        assert remembers(running)


def answers(url: str) -> bool:
    try:
        psycopg.connect(url.replace("+psycopg", "")).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_server_left_running_by_a_killed_guard_is_stopped_first(running: PostgresServer) -> None:
    with running:
        remember(running)
        left_over = postmaster(running)
        with PostgresServer(running.folder, durable=False) as successor:
            assert postmaster(successor) != left_over
            assert remembers(successor)


def test_a_pid_file_that_names_somebody_else_by_now_is_no_obstacle(
    running: PostgresServer, stranger: int
) -> None:
    with running:
        remember(running)
    pid_file = running.folder / "cluster" / "postmaster.pid"
    pid_file.write_text(f"{stranger}\n/somewhere\n1\n5432\n\n*\n1 2\nready\n")
    with running:
        assert remembers(running)
    assert Path(f"/proc/{stranger}").exists()


def test_an_interrupted_first_start_is_repeated(tmp_path: Path) -> None:
    unfinished = tmp_path / "postgres" / "cluster.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18")
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        remember(server)
    assert not unfinished.exists()


def test_databases_are_copied_from_templates(running: PostgresServer) -> None:
    with running:
        running.create_database("original")
        with running.connect("original") as connection:
            connection.execute("CREATE TABLE copied (id int)")
        running.create_database("copy", template="original")
        with running.connect("copy") as connection:
            assert connection.execute("SELECT count(*) FROM copied").fetchone() == (0,)
            running.drop_database("copy")
        running.drop_database("copy")


def test_programs_in_a_closed_folder_are_copied_while_they_run(closed_folder: Path) -> None:
    """Root's virtual environment in root's home; everybody else runs them where they are."""
    installation = find_postgres(None, None, major=18, folder=closed_folder).folder.parent
    libraries = f"{installation.parent.name}.libs"
    shutil.copytree(installation.parent.with_name(libraries), closed_folder / libraries)
    copy = closed_folder / installation.parent.name / installation.name
    shutil.copytree(installation, copy)
    programs = copy / "bin"
    with PostgresServer(closed_folder / "postgres", durable=False, binaries=programs) as server:
        remember(server)
        assert server.binaries == programs
        executable = Path(f"/proc/{postmaster(server)}/exe").readlink()
        assert (executable.parent == programs) == (os.geteuid() != 0)
    assert eventually(lambda: mentioning(closed_folder) == [])
    assert executable.exists() == (os.geteuid() != 0)


def test_a_folder_without_programs_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StandaloneError, match=r"can't be run from .*: name a folder with"):
        PostgresServer(tmp_path / "postgres", binaries=tmp_path).start()


def test_a_cluster_of_another_version_is_refused_in_a_sentence(tmp_path: Path) -> None:
    cluster = tmp_path / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("9\n")
    with pytest.raises(StandaloneError, match=r"PostgreSQL 9, which made this database, was not found"):
        PostgresServer(tmp_path / "postgres").start()


def test_nothing_is_left_after_the_end(running: PostgresServer) -> None:
    with running:
        assert child_of(running.process.guard_pid) == postmaster(running)
    assert eventually(lambda: mentioning(running.folder) == [])
