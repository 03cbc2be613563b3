"""The folder that holds a PostgreSQL cluster and the password of its superuser.

Started by root, PostgreSQL runs as another user, and the cluster may lie below folders which that user
can't enter: root's home, or a test's private folder. So its programs are started *in* the cluster's folder,
entered before the change of user, and are told that it is /proc/self/cwd: no path from the root of the disk
is ever looked up. That also lets the folder around it stay closed to everybody else who runs as nobody.
"""

import secrets
import shutil
from pathlib import Path

from app.standalone.identity import Identity, give, run_as, unprivileged_identity
from app.standalone.postgres_binaries import PostgresBinaries
from app.standalone.refusals import StandaloneError

SUPERUSER = "postgres"
HERE = "/proc/self/cwd"


class PostgresCluster:
    def __init__(self, around: Path) -> None:
        self.around = around
        self.folder = around / "cluster"
        self.identity: Identity | None = None
        self._password_file = around / "superuser-password"

    @property
    def major(self) -> int | None:
        """The major version of the PostgreSQL that made the cluster; None while there is none."""
        version = self.folder / "PG_VERSION"
        return int(version.read_text()) if version.exists() else None

    @property
    def password(self) -> str:
        """The superuser's."""
        return self._password_file.read_text()

    def prepare_folder(self) -> None:
        """Make the folder, and settle who runs the server in it."""
        self.around.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.identity = unprivileged_identity(self.around)
        give(self.around, self.identity)

    def make(self, binaries: PostgresBinaries, *, sync: bool) -> None:
        """Run `initdb` beside the final place and rename at the end: a cluster that is there is complete."""
        unfinished = self.around / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        give(unfinished, self.identity)
        self._password_file.touch(mode=0o600)
        give(self._password_file, self.identity)
        self._password_file.write_text(secrets.token_urlsafe(32))
        answer = run_as(
            self.identity,
            [
                binaries.folder / "initdb",
                f"--pgdata={HERE}",
                f"--username={SUPERUSER}",
                f"--pwfile=../{self._password_file.name}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-locale",
                *([] if sync else ["--no-sync"]),
            ],
            unfinished,
        )
        if answer.returncode != 0:
            raise StandaloneError(
                f"PostgreSQL could not make a database in {self.around}: {answer.stderr.strip()}"
            )
        unfinished.rename(self.folder)
