"""The migrations lead up, down and up again, and to the very schema that the tables describe."""

import subprocess

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import sessionmaker

from app.relay import row_security as relays
from migrations import downgrade, upgrade
from migrations.online import switch_row_security_on, upgrade_in_use
from models import Base
from models.states import MACHINES
from tests.database import Database


@pytest.fixture
def owner(empty_database: str):
    engine = create_engine(empty_database)
    yield engine
    engine.dispose()


def _public_objects(engine: Engine) -> set[str]:
    query = """
        SELECT 'table ' || tablename FROM pg_tables WHERE schemaname = 'public'
        UNION SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION SELECT 'sequence ' || sequencename FROM pg_sequences WHERE schemaname = 'public'
    """
    with engine.connect() as connection:
        return set(connection.scalars(text(query)))


def test_up_down_and_up_again(owner: Engine) -> None:
    with owner.begin() as connection:
        upgrade(connection)
    first = _public_objects(owner)
    with owner.begin() as connection:
        downgrade(connection)
    assert _public_objects(owner) == {"table alembic_version"}
    with owner.begin() as connection:
        upgrade(connection)
    assert _public_objects(owner) == first
    assert "table deletion_requests" in first


def test_tables_and_migrations_make_the_same_schema(
    owner: Engine, other_empty_database: str, pg_dump: str
) -> None:
    with owner.begin() as connection:
        upgrade(connection)
    from_tables = create_engine(other_empty_database)
    with from_tables.begin() as connection:
        Base.metadata.create_all(connection)
    assert _dump(pg_dump, owner) == _dump(pg_dump, from_tables)
    assert _rows(owner) == _rows(from_tables)
    from_tables.dispose()


def test_a_database_in_use_is_migrated_without_long_locks_to_the_same_schema(
    owner: Engine, other_empty_database: str, pg_dump: str
) -> None:
    """While somebody reads a table that is to be changed, nothing waits longer than a moment; the next try
    goes on. What was audited before is noted. Processes that name no tenant go on seeing everything until
    they are gone: then row-level security is switched on."""
    other = create_engine(other_empty_database)
    for engine in (owner, other):
        with engine.begin() as connection:
            upgrade(connection, "0001")
            connection.execute(
                text(
                    "WITH made AS (INSERT INTO tenants (id, name, allowed_roots)"
                    " VALUES (gen_random_uuid(), 'acme', '{}') RETURNING id)"
                    " INSERT INTO audit_log (tenant_id, actor, action) SELECT id, 'operator', 'old' FROM made"
                )
            )
    with owner.connect() as reader:
        reader.execute(text("SELECT FROM deletion_requests"))
        with pytest.raises(OperationalError, match="lock timeout"):
            upgrade_in_use(owner, tries=2, lock_seconds=0.05)
    urls = Database(str(owner.url.render_as_string(hide_password=False)))
    older = create_engine(urls.app_url, connect_args={"application_name": "lethe-relay"})
    relay = create_engine(urls.relay_url)
    with older.connect() as process:
        upgrade_in_use(owner, tries=1)
        upgrade_in_use(owner, tries=1)
        assert switch_row_security_on(owner, tries=1) == ["lethe-relay"]
        assert relays.switch_row_security_on(sessionmaker(relay)) == ["lethe-relay"]
        assert process.scalar(text("SELECT count(*) FROM tenants")) == 1  # as it was used to
    older.dispose()
    while relays.switch_row_security_on(sessionmaker(relay)):
        pass  # PostgreSQL has not noticed yet that it is gone
    relay.dispose()
    assert switch_row_security_on(owner, tries=1) == []
    with other.begin() as connection:
        upgrade(connection)
    assert _dump(pg_dump, owner) == _dump(pg_dump, other)
    with owner.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM audit_unsealed")) == 1
    other.dispose()


def test_every_machine_is_in_the_database(owner: Engine) -> None:
    with owner.begin() as connection:
        upgrade(connection)
    expected = {
        (table, str(before), str(after))
        for table, (_, machine) in MACHINES.items()
        for before, allowed in machine.items()
        for after in allowed
    }
    assert _rows(owner) == expected


def _rows(engine: Engine) -> set[tuple[str, str, str]]:
    with engine.connect() as connection:
        return {tuple(row) for row in connection.execute(text("SELECT * FROM state_transitions"))}


def _dump(pg_dump: str, engine: Engine) -> str:
    """The schema as pg_dump tells it: everything that autogenerate is blind to included."""
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    done = subprocess.run(
        [pg_dump, "--schema-only", "--exclude-table=alembic_version", url],
        check=True,
        capture_output=True,
        text=True,
    )
    # \restrict and \unrestrict carry a random token.
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith("\\"))
