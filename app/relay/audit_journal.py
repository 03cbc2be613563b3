"""The newest signed checkpoint of each tenant's audit log enters the journal in the storage.

A checkpoint that is there and is not of this database's chain was made before the database was restored from
an older backup. It is left alone until `python -m app.backup reapply` has written into the log that it was.
"""

import uuid
from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import transaction
from app.core.journal import SignedEnd, read_signed_end, write_signed_end
from app.core.logging import get_logger
from app.core.storage import Storage

_NEWEST = text("""
SELECT DISTINCT ON (signed.tenant_id) signed.tenant_id, signed.position, encode(seal.hash, 'hex') AS head,
  signed.envelope
FROM audit_checkpoints AS signed
JOIN audit_seals AS seal ON seal.tenant_id = signed.tenant_id AND seal.position = signed.position
ORDER BY signed.tenant_id, signed.position DESC
""")
_HEAD_AT = text("""
SELECT encode(hash, 'hex') FROM audit_seals WHERE tenant_id = :tenant_id AND position = :position
""")


class AuditJournal:
    """`written`: what is there of each tenant, as far as this process has looked or written."""

    def __init__(self, sessions: sessionmaker[Session], storage: Storage) -> None:
        self._sessions = sessions
        self._storage = storage
        self._written: dict[uuid.UUID, int] = {}

    def write(self) -> int:
        """How many checkpoints were written."""
        with transaction(self._sessions) as session:
            newest = [SignedEnd(**row) for row in session.execute(_NEWEST).mappings()]
        return sum(self._write(end) for end in newest if end.position > self._written.get(end.tenant_id, 0))

    def _write(self, end: SignedEnd) -> bool:
        if end.tenant_id not in self._written:
            there = read_signed_end(self._storage, end.tenant_id)
            if there is not None and not self._is_ours(there):
                told: Mapping[str, object] = {"tenant": str(end.tenant_id), "position": there.position}
                get_logger(__name__).error("audit_log_was_restored", run="app.backup reapply", **told)
                return False
        write_signed_end(self._storage, end)
        self._written[end.tenant_id] = end.position
        return True

    def _is_ours(self, there: SignedEnd) -> bool:
        with transaction(self._sessions) as session:
            return head_at(session, there) == there.head


def head_at(session: Session, end: SignedEnd) -> str | None:
    """The hash that the chain in the database has at that position; None beyond its end."""
    bound = {"tenant_id": end.tenant_id, "position": end.position}
    found: str | None = session.scalar(_HEAD_AT, bound)
    return found
