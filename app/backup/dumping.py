"""The database as one file, by PostgreSQL's own programs."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import make_url


class DumpFailed(Exception):
    """What PostgreSQL's program said, and what to do."""


def dump(database_url: str, file: Path, programs: Path | None) -> None:
    """One consistent snapshot. Raises `DumpFailed`."""
    _run("pg_dump", ["--format=custom", "--no-owner", f"--file={file}"], database_url, programs)


def load(database_url: str, file: Path, programs: Path | None) -> None:
    """Into an empty database whose server has the roles. Raises `DumpFailed`, and leaves it empty then."""
    options = ["--no-owner", "--exit-on-error", "--single-transaction", str(file)]
    _run("pg_restore", options, database_url, programs)


def _run(program: str, options: Sequence[str], database_url: str, programs: Path | None) -> None:
    """The password goes through the environment: arguments are for everybody to see."""
    found = str(programs / program) if programs is not None else shutil.which(program)
    if found is None:
        raise DumpFailed(f"There is no {program} on the PATH; name its folder with --programs.")
    url = make_url(database_url)
    environment = os.environ | {
        "PGHOST": url.host or "",
        "PGPORT": str(url.port or 5432),
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
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
