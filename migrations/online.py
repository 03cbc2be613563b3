"""Migrating a database that is in use.

Each migration is a transaction of its own, and waits for a lock no longer than a moment: whoever comes after
it in the line for that lock waits as well. Steps that take long take no lock that others wait for, and
therefore run outside of a transaction.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from alembic import op
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from migrations import upgrade
from migrations.row_security import switch_on

T = TypeVar("T")

ONLINE = "online"
LOCK_SECONDS = 2.0
TRIES = 60

_INVALID = text("""
SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid)
""")


def upgrade_in_use(engine: Engine, tries: int = TRIES, lock_seconds: float = LOCK_SECONDS) -> None:
    """Raises SQLAlchemy's `OperationalError` when a lock was not to be had in any of the tries: some
    transaction is open for minutes."""

    def once(connection: Connection) -> None:
        _limit_waiting(connection, lock_seconds)
        upgrade(connection, in_use=True)

    _again_and_again(engine, once, tries, lock_seconds)


def switch_row_security_on(
    engine: Engine, tries: int = TRIES, lock_seconds: float = LOCK_SECONDS
) -> list[str]:
    """The processes from before it that are still connected: while there are any, nothing is done. Raises as
    `upgrade_in_use` does."""

    def once(connection: Connection) -> list[str]:
        _limit_waiting(connection, lock_seconds)
        return switch_on(connection)

    return _again_and_again(engine.execution_options(isolation_level="AUTOCOMMIT"), once, tries, lock_seconds)


def _again_and_again(engine: Engine, once: Callable[[Connection], T], tries: int, pause: float) -> T:
    for number in range(1, tries + 1):
        try:
            with engine.connect() as connection:
                return once(connection)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable) or number == tries:
                raise
            time.sleep(pause)
    raise AssertionError("there is at least one try")


@contextmanager
def outside_of_a_transaction() -> Iterator[None]:
    """Where the database is in use; else in the transaction of all migrations."""
    if not _in_use():
        yield
        return
    with op.get_context().autocommit_block():
        before = op.get_bind().scalar(text("SHOW lock_timeout"))
        op.execute("SET lock_timeout = 0")  # an index waits for old transactions, and stands in nobody's way
        yield
        op.execute(f"SET lock_timeout = '{before}'")


@contextmanager
def in_short_steps() -> Iterator[None]:
    """Where the database is in use, each statement commits by itself, and waits for a lock no longer than
    others may have to wait for it. Each must bear being done again."""
    if not _in_use():
        yield
        return
    with op.get_context().autocommit_block():
        yield


def create_index(name: str, definition: str) -> None:
    """Anew, if an earlier try has left half of it."""
    if not _in_use():
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {definition}")
        return
    if op.get_bind().scalar(_INVALID, {"name": name}):
        op.execute(f"DROP INDEX CONCURRENTLY {name}")
    op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {definition}")


def drop_index(name: str) -> None:
    op.execute(f"DROP INDEX {'CONCURRENTLY ' if _in_use() else ''}IF EXISTS {name}")


def _in_use() -> bool:
    config = op.get_context().config
    return config is not None and bool(config.attributes.get(ONLINE))


def _limit_waiting(connection: Connection, seconds: float) -> None:
    connection.execute(text(f"SET lock_timeout = {int(seconds * 1000)}"))
    connection.commit()
