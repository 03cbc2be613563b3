"""The second wall: what the database itself keeps apart when a query forgets to."""

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Connection, Engine, Table, create_engine, make_url, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import Session

from app.backup.dumping import dump, load
from app.core.database import EVERYONE, async_engine
from app.core.settings import Settings
from app.core.sight import SeeingSessions, Sight, give_sight
from app.operator_keys import create_key
from app.operator_tenants import create_tenant
from app.standalone.postgres import PostgresServer
from migrations.online import upgrade_in_use
from models import Base
from models.row_security import OF_NO_TENANT, columns
from tests.database import Database, temporary_database

MINE, THEIRS = uuid.UUID(int=1), uuid.UUID(int=2)
MODELS = {tenant: [uuid.UUID(int=100 * tenant.int + k) for k in range(2)] for tenant in (MINE, THEIRS)}
numbers = itertools.count(1)
MADE_UP: dict[str, Callable[[], object]] = {
    "Uuid": uuid.uuid4,
    "Text": lambda: f"text {next(numbers)}",
    "BigInteger": lambda: next(numbers),
    "Integer": lambda: next(numbers),
    "LargeBinary": lambda: next(numbers).to_bytes(32),
    "ARRAY": list,
    "JSONB": dict,
    "DateTime": lambda: "2026-01-01T00:00:00Z",
}


@pytest.fixture
def filled(database: Database) -> Iterator[Engine]:
    """Rows of two tenants, and of two models of each, in every table, without the rules that rows have to
    obey otherwise: a table that is added is filled as well."""
    engine = create_engine(database.owner_url)
    checks = "SELECT CAST(conrelid::regclass AS text), conname FROM pg_constraint WHERE contype = 'c'"
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table, name in connection.execute(text(checks + " AND conrelid <> 0")).all():
            connection.execute(text(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"'))
        for table in columns():
            for tenant, models in MODELS.items():
                for model in models:
                    _fill(connection, Base.metadata.tables[table], tenant, model)
    yield engine
    engine.dispose()


def _fill(connection: Connection, table: Table, tenant: uuid.UUID, model: uuid.UUID) -> None:
    told = {"tenants": {"id": tenant}, "registered_models": {"id": model}}.get(table.name, {})
    told = {"tenant_id": tenant, "registered_model_id": model} | told
    row = {
        column.name: told[column.name] if column.name in told else MADE_UP[type(column.type).__name__]()
        for column in table.columns
        if column.name in told or not (column.nullable or column.server_default)
    }
    connection.execute(insert(table).values(row).on_conflict_do_nothing())


@contextmanager
def seeing(url: str, sight: Sight | None = None, options: str = "") -> Iterator[Connection]:
    engine = create_engine(url, connect_args={"options": options})
    with Session(engine) as session:
        if sight is not None:
            give_sight(session, sight)
        yield session.connection()
    engine.dispose()


def test_every_table_of_tenants_is_behind_the_wall(filled: Engine) -> None:
    """Also for the owner. What is not behind it is listed by hand, and no column says whose it is."""
    walled = "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity"
    every = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    with filled.connect() as connection:
        found = set(connection.scalars(text(walled)))
        assert found == set(columns())
        assert set(connection.scalars(text(every))) == found | set(OF_NO_TENANT)
    for name in OF_NO_TENANT:
        assert "tenant_id" not in Base.metadata.tables[name].columns


def test_without_a_where_nothing_of_another_tenant_is_seen_or_changed(
    filled: Engine, database: Database, subtests: pytest.Subtests
) -> None:
    with filled.connect() as connection:
        rows = {
            table: connection.execute(text(f"SELECT * FROM {table} WHERE {column} = '{THEIRS}'")).all()
            for table, column in columns().items()
        }
    with seeing(database.app_url, Sight(MINE)) as connection:
        for table, column in columns().items():
            with subtests.test(str(table)):
                assert rows[table]
                assert _refused(connection, f"SELECT {column} FROM {table}") or set(
                    connection.scalars(text(f"SELECT {column} FROM {table}"))
                ) == {MINE}
                theirs = f"WHERE {column} = '{THEIRS}'"
                for change in (
                    f"UPDATE {table} SET {column} = {column} {theirs}",
                    f"DELETE FROM {table} {theirs}",
                ):
                    assert _refused(connection, change) or connection.execute(text(change)).rowcount == 0
                again = Base.metadata.tables[table].insert().values(rows[table][0]._asdict())
                with (
                    pytest.raises(ProgrammingError, match=r"row-level security|permission denied"),
                    connection.begin_nested(),
                ):
                    connection.execute(again)
    with filled.connect() as connection:
        for table, column in columns().items():
            query = f"SELECT * FROM {table} WHERE {column} = '{THEIRS}'"
            assert connection.execute(text(query)).all() == rows[table]


def _refused(connection: Connection, statement: str) -> bool:
    """Whether the role may not do so at all; undone."""
    try:
        with connection.begin_nested() as savepoint:
            connection.execute(text(statement))
            savepoint.rollback()
    except ProgrammingError as error:
        if isinstance(error.orig, InsufficientPrivilege):
            return True
        raise
    return False


def test_who_names_nothing_sees_nothing_and_who_names_models_sees_those(
    filled: Engine, database: Database, subtests: pytest.Subtests
) -> None:
    limited = Sight(MINE, MODELS[MINE][:1])
    with (
        seeing(database.app_url, None) as nobody,
        seeing(database.app_url, limited) as of_a_model,
        seeing(database.relay_url, None) as relay,
    ):
        nobody.execute(text("SET lethe.everyone = 'on'"))  # a word of the owner's, and of nobody else's
        for table in columns():
            with subtests.test(str(table)):
                count = text(f"SELECT count(*) FROM {table}")
                if not _refused(nobody, f"SELECT FROM {table}"):
                    assert nobody.scalar(count) == 0
                model = {"registered_models": "id"}.get(table, "registered_model_id")
                if model in Base.metadata.tables[table].columns:
                    seen = of_a_model.scalars(text(f"SELECT {model} FROM {table}")).all()
                    assert seen == MODELS[MINE][:1]
                if not _refused(relay, f"SELECT FROM {table}"):
                    assert relay.scalar(count) == (2 if table == "tenants" else 4)


@pytest.mark.anyio
async def test_a_pooled_connection_keeps_no_tenant(filled: Engine, settings: Settings) -> None:
    engine = async_engine(settings.model_copy(update={"database_pool_size": 1}))
    sessions = async_sessionmaker(engine)
    mine = SeeingSessions(sessions, Sight(MINE))
    models = text("SELECT count(*) FROM registered_models")
    me = text("SELECT pg_backend_pid()")
    async with mine() as session:
        pid = await session.scalar(me)
        assert await session.scalar(models) == 2
        await session.commit()
        assert await session.scalar(models) == 2  # a transaction of its own, and the same sight
    for _ in range(2):
        async with sessions() as session:
            assert await session.scalar(me) == pid
            assert await session.scalar(models) == 0
            await session.rollback()
    async with mine.begin() as session:
        assert await session.scalar(models) == 2
    await engine.dispose()


@pytest.fixture
def plain_owner(postgres: PostgresServer) -> Iterator[list[str]]:
    """URLs of two empty databases of an owner who is no superuser."""
    name = f"plain_{uuid.uuid4().hex}"
    administrator = create_engine(postgres.superuser_url, isolation_level="AUTOCOMMIT")
    with (
        administrator.connect() as connection,
        temporary_database(postgres.superuser_url, "template0") as first,
        temporary_database(postgres.superuser_url, "template0") as second,
    ):
        connection.execute(text(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'plain'"))
        for url in (first, second):
            connection.execute(text(f"ALTER DATABASE {make_url(url).database} OWNER TO {name}"))
        yield [
            make_url(url).set(username=name, password="plain").render_as_string(hide_password=False)
            for url in (first, second)
        ]
    with administrator.connect() as connection:
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))
    administrator.dispose()


def test_an_owner_who_is_no_superuser_has_to_say_that_he_wants_all(
    plain_owner: list[str], tmp_path: Path
) -> None:
    """He migrates, backs up and restores; what others call with his rights works."""
    migrating, app = create_engine(plain_owner[0]), create_engine(Database(plain_owner[0]).app_url)
    upgrade_in_use(migrating)
    with Session(app) as session, session.begin():
        create_tenant(session, "acme")
        minted = create_key(session, "acme", "first", ["admin"])
    migrating.dispose()
    app.dispose()
    dump(plain_owner[0], tmp_path / "dump", None)
    load(plain_owner[1], tmp_path / "dump", None)
    for url in plain_owner:
        for options, seen in (("", 0), (EVERYONE, 1)):
            with seeing(url, options=options) as owner:
                assert owner.scalar(text("SELECT count(*) FROM api_keys")) == seen
        with seeing(Database(url).app_url) as nobody:
            found = text("SELECT count(*) FROM find_api_key(:id)")
            assert nobody.scalar(found, {"id": minted.public_id}) == 1
            assert nobody.scalar(text("SELECT queue_gauges() -> 'models'")) == []
