"""Connections to PostgreSQL, and the only places that commit.

The API commits once per HTTP request, before the answer leaves (`Session`, in `app.core.session`); the
worker and the relay commit through `transaction`, once per unit of work.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from app.core import failpoints
from app.core.reply_timeout import AsyncConnection, Connection
from app.core.settings import Settings

# What the server is given, beyond the time that a statement may take, to say that it has taken so long.
SECONDS_TO_SAY_SO = 5.0
SECONDS_TO_CONNECT = 5
EVERYONE = "-c lethe.everyone=on"
OUTAGE = (OperationalError, InterfaceError, NoConnectionFree)
"""What a database that is away, busy or restarted causes; anything else that it says is a fault of ours."""


def async_engine(settings: Settings) -> AsyncEngine:
    """The API's pool, as the role lethe_app."""
    engine = create_async_engine(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        pool_timeout=10,
        pool_pre_ping=True,
        hide_parameters=True,
        # Migrations know older processes by "lethe-api".
        connect_args=_connect_args(settings, "lethe-http") | {"async_creator_fn": _async_connector(settings)},
    )
    event.listen(engine.sync_engine, "handle_error", _replace_what_fails_a_ping)
    return engine


def relay_url(settings: Settings) -> str:
    """The URL of the role that the relay connects as. Raises `ValueError`."""
    url = settings.relay_database_url.get_secret_value() if settings.relay_database_url else ""
    if not url:
        raise ValueError(
            "The relay needs LETHE_RELAY_DATABASE_URL: PostgreSQL as the role lethe_relay. Give it to "
            "`python -m migrations` as well, which sets the role's password."
        )
    return url


def owner_engine(url: str, **options: Any) -> Engine:
    """As the owner, for operators' commands. Row-level security shows him every tenant, if he says so.

    What he asks for may take hours, as a backup does: silence is no fault then, and it is for him to end a
    command."""
    arguments = {"connect_timeout": SECONDS_TO_CONNECT, "options": EVERYONE}
    return create_engine(url, connect_args=arguments, **options)


def sync_engine(settings: Settings, url: str, name: str) -> Engine:
    """A small pool for the worker or the relay. `name` is shown in pg_stat_activity."""
    engine = create_engine(
        url,
        pool_size=2,
        max_overflow=4,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=_connect_args(settings, name),
    )
    event.listen(engine, "do_connect", _connector(settings))
    event.listen(engine, "handle_error", _replace_what_fails_a_ping)
    return engine


def reply_seconds(settings: Settings) -> float:
    """How long a server may say nothing before it counts as away. A statement that takes its time is ended by
    the server itself, earlier, and its end is told."""
    return settings.statement_timeout_seconds + SECONDS_TO_SAY_SO


@contextmanager
def transaction(sessions: sessionmaker[Session], unit: str | None = None) -> Iterator[Session]:
    """One unit of work: committed when the block ends, rolled back when it raises. `unit` names its
    failpoints."""
    with sessions.begin() as session:
        yield session
        if failpoints.ARMED and unit:
            session.flush()
            failpoints.reach(f"{unit}.before-commit")
    if failpoints.ARMED and unit:
        failpoints.reach(f"{unit}.after-commit")


def _replace_what_fails_a_ping(context: ExceptionContext) -> None:
    """A pooled connection that cannot be pinged is to be replaced, whatever it says. Cut off in the middle of
    the ping, psycopg's complains of its transaction status and does not count as closed."""
    if context.is_pre_ping:
        context.is_disconnect = True


def _connector(settings: Settings) -> Callable[..., Connection]:
    def connect(dialect: Any, record: Any, arguments: Sequence[Any], options: dict[str, Any]) -> Connection:
        connection = Connection.connect(*arguments, **options)
        connection.reply_seconds = reply_seconds(settings)
        return connection

    return connect


def _async_connector(settings: Settings) -> Callable[..., Awaitable[AsyncConnection]]:
    async def connect(*arguments: Any, **options: Any) -> AsyncConnection:
        connection = await AsyncConnection.connect(*arguments, **options)
        connection.reply_seconds = reply_seconds(settings)
        return connection

    return connect


def _connect_args(settings: Settings, name: str) -> dict[str, object]:
    milliseconds = int(settings.statement_timeout_seconds * 1000)
    # A process that is stopped in the middle of a transaction must not keep its rows from the others for
    # longer than a lease.
    idle = int(min(60.0, max(1.0, settings.lease_seconds)) * 1000)
    return {
        "application_name": name,
        "connect_timeout": SECONDS_TO_CONNECT,
        "options": f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={idle}"
        " -c timezone=UTC",
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15000,
    }
