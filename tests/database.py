"""Throw-away databases on the test run's own PostgreSQL.

One server per test process, started once. The migrated schema is built once as a template; every test
that asks for `database` gets a copy of it, which costs some tens of milliseconds.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Engine, create_engine, make_url, text

from migrations import upgrade
from tests.told_moves import tell_of_every_move

PASSWORD = "test-password"
TEMPLATE = "lethe_template"


@dataclass(frozen=True)
class Database:
    """A migrated database, and how each role reaches it (postgresql+psycopg:// URLs)."""

    owner_url: str

    @property
    def app_url(self) -> str:
        return self._as("lethe_app")

    @property
    def relay_url(self) -> str:
        return self._as("lethe_relay")

    @property
    def worker_url(self) -> str:
        return self._as("lethe_worker")

    def _as(self, role: str) -> str:
        url = make_url(self.owner_url).set(username=role, password=PASSWORD)
        return url.render_as_string(hide_password=False)


def build_template(superuser_url: str) -> None:
    """Create the template database, migrate it, and let its roles log in."""
    _administer(superuser_url, f"CREATE DATABASE {TEMPLATE}")
    engine = create_engine(_named(superuser_url, TEMPLATE))
    with engine.begin() as connection:
        upgrade(connection)
        for statement in tell_of_every_move():
            connection.execute(text(statement))
        for role in ("lethe_app", "lethe_relay", "lethe_worker"):
            connection.execute(text(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'"))
    engine.dispose()


@contextmanager
def temporary_database(superuser_url: str, template: str = TEMPLATE) -> Iterator[str]:
    """The URL of a copy of `template`, dropped at the end whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    _administer(superuser_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield _named(superuser_url, name)
    finally:
        _administer(superuser_url, f"DROP DATABASE {name} WITH (FORCE)")


def _administer(superuser_url: str, statement: str) -> None:
    with _administrator(superuser_url).connect() as connection:
        connection.execute(text(statement))


@cache
def _administrator(superuser_url: str) -> Engine:
    """Its one connection is kept: to log in twice for each database costs as much as to copy it."""
    return create_engine(superuser_url, isolation_level="AUTOCOMMIT", pool_size=1, pool_pre_ping=True)


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)
