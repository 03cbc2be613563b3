"""Bring the database up to date, and hand out the first API key."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from app.auth.keys import Scope
from app.operator_keys import create_key
from app.operator_tenants import create_tenant
from app.standalone.data_folder import DataFolder, write_privately
from app.standalone.environment import DATABASE, OWNER
from app.standalone.keys import Keys
from app.standalone.postgres import PostgresServer
from app.standalone.programs import Programs
from app.standalone.refusals import StandaloneError

TENANT = "default"


def prepare_database(postgres: PostgresServer, keys: Keys) -> None:
    """The database and its owner, who is no superuser: row-level security and grants bind it too."""
    with postgres.connect() as connection:
        owners = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER]).fetchall()
        if not owners:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(
                    sql.Identifier(OWNER), sql.Literal(keys.owner_password)
                )
            )
        databases = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchall()
    if not databases:
        postgres.create_database(DATABASE, owner=OWNER)


def migrate(programs: Programs, environment: Mapping[str, str]) -> None:
    """Upgrade the schema, in a process of its own: Alembic loads and logs more than we want here."""
    answer = subprocess.run(
        programs.migrations_arguments(),
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StandaloneError(f"The database could not be brought up to date: {reason}")


def provide_tenant(database_url: str, roots: Sequence[str], *, with_key: bool) -> str | None:
    """Make sure that the tenant is there and may use `roots`; a new key of all scopes if wanted.

    The caller has to hand the key out, and then to `record_handing_out`.
    """
    engine = create_engine(database_url)
    try:
        with Session(engine) as session, session.begin():
            create_tenant(session, TENANT, roots)
            if not with_key:
                return None
            return create_key(session, TENANT, "first start", [str(scope) for scope in Scope]).text
    finally:
        engine.dispose()


def handed_out_at(folder: DataFolder) -> str | None:
    """When the first key was handed out; None when there is none yet."""
    if not folder.first_start.exists():
        return None
    return str(json.loads(folder.first_start.read_text())["api_key_handed_out_at"])


def record_handing_out(folder: DataFolder) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_privately(folder.first_start, json.dumps({"tenant": TENANT, "api_key_handed_out_at": now}))


def _run(arguments: Sequence[str], environment: Mapping[str, str], failure: str) -> str:
    answer = subprocess.run(
        arguments,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StandaloneError(f"{failure}: {reason}")
    return answer.stdout
