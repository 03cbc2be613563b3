"""Objects that a restored database has no row of: made after the backup, and known to nobody any more.

The relay's sweep goes by rows, which are written before the bytes; it cannot find these. They may remember
what has to be forgotten.
"""

import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.storage import Storage

_KNOWN = text("SELECT path FROM artifacts WHERE state <> 'deleted'")


def remove_unknown_objects(sessions: sessionmaker[Session], storage: Storage) -> list[str]:
    """The paths that were removed. Nothing but artifacts (tenant/kind/id) is touched. Listed before the rows
    are read, so that what is being uploaded has its row by then."""
    found = [path for path in storage.list("") if _is_artifact(path)]
    with sessions() as session:
        known = set(session.scalars(_KNOWN))
    unknown = sorted(set(found) - known)
    for path in unknown:
        storage.delete(path)
    return unknown


def _is_artifact(path: str) -> bool:
    parts = path.split("/")
    if len(parts) != 3:
        return False
    try:
        uuid.UUID(parts[0]), uuid.UUID(parts[2])
    except ValueError:
        return False
    return True
