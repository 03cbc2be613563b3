"""Which user PostgreSQL runs as: it refuses root."""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

OVERFLOW_ID = 65534
"""What Linux calls nobody, where the user list has no entry of that name."""


@dataclass(frozen=True)
class Identity:
    """A numeric user and group to run a process as."""

    user: int
    group: int


def unprivileged_identity(folder: Path) -> Identity | None:
    """The identity to drop to for a server that keeps its data in `folder`; None when we are no root already.

    It is the owner of the folder or of the folder around it, so that `sudo` in somebody's home leaves no
    files there that they can't remove; and otherwise nobody. No user is ever created.
    """
    if os.geteuid() != 0:
        return None
    for owned in (folder, folder.parent):
        if owned.exists() and owned.stat().st_uid != 0:
            return Identity(owned.stat().st_uid, owned.stat().st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Identity(OVERFLOW_ID, OVERFLOW_ID)
    return Identity(nobody.pw_uid, nobody.pw_gid)


def give(path: Path, identity: Identity | None) -> None:
    """Make `path` the property of `identity`."""
    if identity is not None:
        os.chown(path, identity.user, identity.group)


def run_as(identity: Identity | None, arguments: Sequence[str | Path], folder: Path) -> CompletedProcess[str]:
    """Run a short command to its end as `identity`, in `folder`, which is entered before the change of
    user."""
    return subprocess.run(
        arguments,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=None if identity is None else identity.user,
        group=None if identity is None else identity.group,
        extra_groups=None if identity is None else [],
    )
