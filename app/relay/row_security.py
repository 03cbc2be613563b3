"""Row-level security is switched on as soon as no process from before it is connected any more."""

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.database import transaction

# Whoever comes after it in the line for a lock waits as long as it does.
_WAIT_BRIEFLY = text("SET LOCAL lock_timeout = '2s'")
_SWITCH_ON = text("SELECT switch_row_security_on()")


def switch_row_security_on(sessions: sessionmaker[Session]) -> list[str]:
    """The processes from before it that are still connected; none: it is on now, for every table. Each table
    is a transaction of its own; a lock that is not to be had raises SQLAlchemy's `OperationalError`, and the
    next call goes on from there."""
    while True:
        with transaction(sessions) as session:
            session.execute(_WAIT_BRIEFLY)
            older: list[str] | None = session.scalar(_SWITCH_ON)
        if older is None:
            return []
        if older:
            return older
