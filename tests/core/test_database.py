"""Pooled connections that died in the pool are replaced before anybody is given one."""

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from app.core.database import sync_engine
from app.core.settings import Settings


def test_whatever_fails_a_ping_has_the_connection_replaced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = sync_engine(settings, settings.database_url.get_secret_value(), "lethe-test")
    with engine.connect() as connection:
        first = connection.scalar(text("SELECT pg_backend_pid()"))

    def cut_off(connection: DBAPIConnection) -> bool:
        raise psycopg.ProgrammingError(
            "can't change 'autocommit' now: connection in transaction status ACTIVE"
        )

    with monkeypatch.context() as patch:
        patch.setattr(engine.dialect, "do_ping", cut_off)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT pg_backend_pid()")) != first
            with pytest.raises(DBAPIError) as raised:
                connection.execute(text("SELECT 1 / 0"))
    assert not raised.value.connection_invalidated
    engine.dispose()
