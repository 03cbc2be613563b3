"""`python -m migrations`: upgrade the database that LETHE_OWNER_DATABASE_URL names to the newest schema.

Sets the passwords of the roles lethe_app and lethe_worker to those in LETHE_DATABASE_URL and
LETHE_WORKER_DATABASE_URL, where these name the roles: the schema itself gives them none.
"""

import os
import sys

from psycopg import sql
from sqlalchemy import Connection, create_engine, make_url, text

from migrations import upgrade

ROLES = {"lethe_app": "LETHE_DATABASE_URL", "lethe_worker": "LETHE_WORKER_DATABASE_URL"}


def main() -> int:
    owner = os.environ.get("LETHE_OWNER_DATABASE_URL")
    if not owner:
        print("Set LETHE_OWNER_DATABASE_URL to the database's URL as its owner.", file=sys.stderr)
        return 2
    engine = create_engine(owner)
    with engine.begin() as connection:
        # Two migrators at once: the second waits, and finds nothing left to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('lethe migrations'))"))
        upgrade(connection)
        for role, variable in ROLES.items():
            _set_password(connection, role, os.environ.get(variable))
    engine.dispose()
    print("The schema is up to date.", file=sys.stderr)
    return 0


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
