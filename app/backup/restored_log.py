"""A restored audit log says of itself that it was.

After a restore the chain goes on from an older end, although later ends were signed, and kept by whoever
keeps checkpoints. The first entry of the new way names the newest of them that the journal has, so that
whoever checks can tell a restore from a log that was rewritten.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.audit import audit_entry
from app.core.database import transaction
from app.core.journal import SignedEnd, remove_signed_end, signed_ends
from app.core.storage import Storage
from app.relay.audit_journal import head_at

ACTOR = "operator"
ACTION = "audit.restored"

_TENANT = text("SELECT EXISTS (SELECT FROM tenants WHERE id = :id)")
_SAID = text("""
SELECT EXISTS (SELECT FROM audit_log WHERE tenant_id = :id AND action = :action AND data ->> 'head' = :head)
""")


def record_lost_ends(sessions: sessionmaker[Session], storage: Storage) -> int:
    """How many tenants' logs had a signed end that the database does not have. May be run twice: the journal
    lets go of an end when it is recorded, and is then open to the relay's next one."""
    lost = 0
    for end in signed_ends(storage):
        with transaction(sessions) as session:
            if not _is_lost(session, end):
                continue
            if not session.scalar(_SAID, {"id": end.tenant_id, "action": ACTION, "head": end.head}):
                told = {"position": end.position, "head": end.head, "checkpoint": end.envelope}
                session.execute(audit_entry(end.tenant_id, ACTOR, ACTION, None, None, **told))
                lost += 1
        remove_signed_end(storage, end)
    return lost


def _is_lost(session: Session, end: SignedEnd) -> bool:
    return bool(session.scalar(_TENANT, {"id": end.tenant_id})) and head_at(session, end) != end.head
