"""What a transaction of the API may see: the one place that names a tenant to the database.

Policies (`models.row_security`) compare every row with what was named. It holds for one transaction, so that
a pooled connection never carries it over to the next, and a transaction that names nothing sees nothing.
"""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, SessionTransaction

_KEY = "sight"
# In SQL, for a statement that finds out whose it is itself: see `app.auth.caller`.
NAMED_BY_SQL = (
    "set_config('lethe.tenant', {tenant}, true) || set_config('lethe.models', coalesce({models}, ''), true)"
)
_NAME = text("SELECT " + NAMED_BY_SQL.format(tenant=":tenant", models="CAST(:models AS text)"))


@dataclass(frozen=True, slots=True)
class Sight:
    """`models`: those that it is limited to; None for all of the tenant's."""

    tenant_id: uuid.UUID
    models: Sequence[uuid.UUID] | None = None


@dataclass(frozen=True, slots=True)
class SeeingSessions:
    """Makes sessions whose every transaction has the same sight."""

    sessions: async_sessionmaker[AsyncSession]
    sight: Sight

    def __call__(self) -> AsyncSession:
        return self.sessions(info={_KEY: self.sight})

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        async with self() as session, session.begin():
            yield session


def give_sight(session: Session, sight: Sight) -> None:
    """From now on, for every transaction of the session and the one that has begun."""
    session.info[_KEY] = sight
    if session.in_transaction():
        session.execute(_NAME, _named(sight))


def keep_sight(session: AsyncSession, sight: Sight) -> None:
    """The transaction has it already; the session's later ones shall have it, too."""
    session.sync_session.info[_KEY] = sight


@event.listens_for(Session, "after_begin")
def _name(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    sight: Sight | None = session.info.get(_KEY)
    if sight is not None and not transaction.nested:
        connection.execute(_NAME, _named(sight))


def _named(sight: Sight) -> dict[str, str | None]:
    models = None if sight.models is None else f"{{{','.join(map(str, sight.models))}}}"
    return {"tenant": str(sight.tenant_id), "models": models}
