"""Objects that a restored database has no row of: made after the backup, and known to nobody any more.

The relay's sweep goes by rows, which are written before the bytes; it cannot find these. They may remember
what has to be forgotten. Those of a tenant with a legal hold in force stay: which model they are of, nobody
can tell any more, and it may be the one that is held.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.journal import DamagedEntry
from app.core.journaled_rows import read_rows
from app.core.storage import Storage

_KNOWN = text("SELECT path FROM artifacts WHERE state <> 'deleted'")
_HOLDS = text("SELECT id, tenant_id, lifted_at IS NULL AS in_force FROM legal_holds")


@dataclass(frozen=True)
class Swept:
    """Paths. `held`: what was left because of a legal hold."""

    removed: list[str]
    held: list[str]


def remove_unknown_objects(sessions: sessionmaker[Session], storage: Storage) -> Swept:
    """Nothing but artifacts (tenant/kind/id) is touched. Listed before the rows are read, so that what is
    being uploaded has its row by then. Raises `DamagedEntry`: it cannot be told what is under a hold."""
    found = [path for path in storage.list("") if _is_artifact(path)]
    with sessions() as session:
        known = set(session.scalars(_KNOWN))
        holding = _holding(session, storage)
    unknown = sorted(set(found) - known)
    held = [path for path in unknown if path.split("/")[0] in holding]
    removed = sorted(set(unknown) - set(held))
    for path in removed:
        storage.delete(path)
    return Swept(removed, held)


def _holding(session: Session, storage: Storage) -> set[str]:
    """Tenants with a hold in force: in the database, or, where that does not know it, in the journal."""
    known = {str(row.id): (str(row.tenant_id), row.in_force) for row in session.execute(_HOLDS)}
    damaged: list[str] = []
    for row in read_rows(storage, "holds", damaged):
        known.setdefault(row["id"], (row["tenant_id"], row["lifted_at"] is None))
    if damaged:
        raise DamagedEntry(f"{damaged[0]} is damaged: take it from another copy of the journal.")
    return {tenant for tenant, in_force in known.values() if in_force}


def _is_artifact(path: str) -> bool:
    parts = path.split("/")
    if len(parts) != 3:
        return False
    try:
        uuid.UUID(parts[0]), uuid.UUID(parts[2])
    except ValueError:
        return False
    return True
