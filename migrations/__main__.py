"""`python -m migrations`: upgrade the database that LETHE_OWNER_DATABASE_URL names to the newest schema.

Sets the passwords of the roles lethe_app, lethe_relay and lethe_worker to those in LETHE_DATABASE_URL,
LETHE_RELAY_DATABASE_URL and LETHE_WORKER_DATABASE_URL, where these name the roles: the schema itself gives
them none. Switches row-level security on, unless processes from before it are connected: then the relay does
it later.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql
from sqlalchemy import Connection, Engine, create_engine, make_url, text

from migrations.online import switch_row_security_on, upgrade_in_use

ROLES = {
    "lethe_app": "LETHE_DATABASE_URL",
    "lethe_relay": "LETHE_RELAY_DATABASE_URL",
    "lethe_worker": "LETHE_WORKER_DATABASE_URL",
}


def main() -> int:
    owner = os.environ.get("LETHE_OWNER_DATABASE_URL")
    if not owner:
        print("Set LETHE_OWNER_DATABASE_URL to the database's URL as its owner.", file=sys.stderr)
        return 2
    # A migration that changes rows changes those of every tenant.
    engine = create_engine(owner, connect_args={"connect_timeout": 5, "options": "-c lethe.everyone=on"})
    with _alone(engine):
        upgrade_in_use(engine)
        older = switch_row_security_on(engine)
    with engine.begin() as connection:
        for role, variable in ROLES.items():
            _set_password(connection, role, os.environ.get(variable))
    engine.dispose()
    print("The schema is up to date.", file=sys.stderr)
    if older:
        print(
            f"Row-level security is prepared, not on: {', '.join(older)} of an older version are "
            "connected and could not work with it. Replace them; the relay then switches it on.",
            file=sys.stderr,
        )
    return 0


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Two migrators at once: the second finds nothing left to do. It asks again and again instead of waiting:
    an index that is made meanwhile would wait for its waiting."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(text("SELECT pg_try_advisory_lock(hashtext('lethe migrations'))")):
            time.sleep(0.2)
        yield


def _set_password(connection: Connection, role: str, url: str | None) -> None:
    """ALTER ROLE takes no parameters, so the literal is quoted by psycopg."""
    parts = make_url(url) if url else None
    if parts is None or parts.username != role or not parts.password:
        return
    driver = connection.connection.driver_connection
    assert driver is not None
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
        sql.Identifier(role), sql.Literal(str(parts.password))
    )
    driver.execute(statement)


if __name__ == "__main__":
    sys.exit(main())
