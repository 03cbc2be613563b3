"""What a service hands out, in files; and the command that checks them."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.audit import repository
from app.audit.export import exported
from app.core.audit import audit_entry
from app.core.database import relay_url, sync_engine
from app.core.settings import Settings
from app.core.signing import StatementSigner
from app.relay.sealing import seal_entries, sign_checkpoints
from lethe.command import main
from tests.database import Database
from tests.worker.world import World

SOURCE = Path(__file__).parents[2] / "client" / "src"


@pytest.fixture
def world(database: Database, settings: Settings) -> Iterator[World]:
    world = World(database, settings)
    yield world
    world.engine.dispose()


@pytest.fixture
def sessions(settings: Settings) -> Iterator[sessionmaker[Session]]:
    engine = sync_engine(settings, relay_url(settings), "lethe-relay")
    yield sessionmaker(engine)
    engine.dispose()


@pytest.fixture
def signer() -> StatementSigner:
    return StatementSigner(bytes(range(32)))


@pytest.fixture
def key(signer: StatementSigner, tmp_path: Path) -> Path:
    file = tmp_path / "key.pem"
    file.write_text(signer.public_key)
    return file


@dataclass
class Log:
    """A tenant's audit log, as it grows."""

    sessions: sessionmaker[Session]
    signer: StatementSigner
    tenant: uuid.UUID
    folder: Path

    def grow(self, entries: int) -> None:
        with self.sessions.begin() as session:
            for number in range(entries):
                session.execute(audit_entry(self.tenant, "operator", "test", note=f"ü {number}", ratio=0.1))
        seal_entries(self.sessions)
        sign_checkpoints(self.sessions, self.signer, "http://lethe")

    def export(self, name: str = "audit.jsonl") -> Path:
        file = self.folder / name
        with self.sessions() as session, file.open("wb") as target:
            target.writelines(exported(session, self.tenant))
        return file

    def checkpoint(self) -> Path:
        file = self.folder / "kept.json"
        with self.sessions() as session:
            row = session.execute(repository.newest_checkpoint(self.tenant)).one()
        file.write_text(row.envelope)
        return file


@pytest.fixture
def log(world: World, sessions: sessionmaker[Session], signer: StatementSigner, tmp_path: Path) -> Log:
    log = Log(sessions, signer, world.tenant().id, tmp_path)
    log.grow(5)
    return log


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`lethe …`, in this process."""

    def run(*arguments: object) -> Done:
        status = main([*map(str, arguments)])
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def program() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`lethe …` with nothing on its path but the client's own source and what is installed."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lethe", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )

    return run
