"""A server that is there and says nothing is given up on; one that takes its time is not."""

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.orm import sessionmaker

from app.core.database import OUTAGE, sync_engine, transaction
from app.core.reply_timeout import Connection, ServerSilent
from app.core.settings import Settings
from app.standalone.postgres import PostgresServer
from chaos.freezing import frozen_postgres

SECONDS = 1.5
IN_TIME = 20.0  # where the machine is busy
SELECT_ONE = text("SELECT 1")


@pytest.fixture
def engine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr("app.core.database.SECONDS_TO_SAY_SO", SECONDS - 0.5)
    monkeypatch.setattr("app.core.database.SECONDS_TO_CONNECT", 2)  # no less is waited for
    short = settings.model_copy(update={"statement_timeout_seconds": 0.5})
    made = sync_engine(short, settings.database_url.get_secret_value(), "lethe-test")
    yield made
    made.dispose()


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection]:
    url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql")
    made = Connection.connect(url.render_as_string(hide_password=False), autocommit=True)
    made.reply_seconds = SECONDS
    with made:
        yield made


def what_it_raises(do: Callable[[], object]) -> BaseException | None:
    """In a thread, so that what waits without end makes no test wait."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            do()
        except BaseException as error:
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(IN_TIME)
    assert raised, "it waits without end"
    return raised[0]


def test_frozen_in_the_middle_of_a_transaction_it_is_away(engine: Engine, postgres: PostgresServer) -> None:
    sessions = sessionmaker(engine)
    with postgres.connect() as superuser:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lethe-test'"

        def ask_twice() -> None:
            with transaction(sessions) as session:
                session.execute(SELECT_ONE)
                with frozen_postgres(postgres):
                    error = what_it_raises(lambda: session.execute(SELECT_ONE))
                if error is not None:
                    raise error

        with pytest.raises(OUTAGE) as raised:
            ask_twice()
        assert isinstance(getattr(raised.value, "orig", None), ServerSilent)
        with transaction(sessions) as session:  # over another connection
            session.execute(SELECT_ONE)
            deadline = time.monotonic() + IN_TIME
            while superuser.execute(statement).fetchone() != (1,):
                assert time.monotonic() < deadline, "the one that was given up on was not closed"


def test_a_commit_that_is_not_answered_is_away(engine: Engine, postgres: PostgresServer) -> None:
    with engine.connect() as connection:
        connection.execute(SELECT_ONE)
        with frozen_postgres(postgres):
            assert isinstance(what_it_raises(connection.commit), OUTAGE)


def test_a_pooled_connection_is_replaced(engine: Engine, postgres: PostgresServer) -> None:
    """Frozen while the connection lies in the pool: neither it nor a new one is waited for without end."""
    sessions = sessionmaker(engine)

    def ask() -> None:
        with transaction(sessions) as session:
            session.execute(SELECT_ONE)

    ask()
    with frozen_postgres(postgres):
        assert isinstance(what_it_raises(ask), OUTAGE)
    ask()


def test_what_is_too_large_for_the_sockets_is_given_up_on_as_well(
    connection: Connection, postgres: PostgresServer
) -> None:
    with frozen_postgres(postgres):
        error = what_it_raises(lambda: connection.execute("SELECT %s", ["x" * 64 * 1024 * 1024]))
    assert isinstance(error, ServerSilent)
    assert connection.closed


def test_rows_that_keep_coming_are_read_to_the_end(connection: Connection) -> None:
    """Each is larger than what the server gathers before it sends."""
    begin = time.monotonic()
    query = "SELECT pg_sleep(0.14), repeat('x', 20000) FROM generate_series(1, 12)"
    assert len(connection.execute(query).fetchall()) == 12
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
        assert len(list(copy.rows())) == 12
    assert time.monotonic() - begin > 2 * SECONDS


def test_the_server_ends_a_slow_statement_before_that(engine: Engine) -> None:
    """And says so: the connection is not lost for it."""
    with engine.connect() as connection:
        error = what_it_raises(lambda: connection.execute(text("SELECT pg_sleep(60)")))
        assert isinstance(getattr(error, "orig", None), psycopg.errors.QueryCanceled)
        connection.rollback()
        connection.execute(SELECT_ONE)


def test_a_notification_may_be_waited_for_in_silence(
    connection: Connection, postgres: PostgresServer
) -> None:
    connection.execute("LISTEN something")
    assert list(connection.notifies(timeout=SECONDS + 0.5)) == []
    connection.execute("NOTIFY something")
    assert [each.channel for each in connection.notifies(timeout=IN_TIME, stop_after=1)] == ["something"]
