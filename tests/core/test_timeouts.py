"""Whatever is asked of another server ends, though the server takes the call and says nothing."""

import ast
import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from app.core import object_store
from app.core.database import async_engine, owner_engine, sync_engine
from app.core.object_store import ObjectStore
from app.core.queue import celery_client, send_wake
from app.core.settings import Settings
from app.outbound.addresses import read_listed
from app.outbound.sending import Limits, Sender
from app.relay.service import Relay

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
# Every place that opens a connection to another server, and gives it a timeout there. Those below
# app/standalone speak to servers of its own, on loopback; migrations/env.py is Alembic's command line.
PLACES = {
    ("app/core/database.py", "connect"),
    ("app/core/database.py", "create_async_engine"),
    ("app/core/database.py", "create_engine"),
    ("app/core/object_store.py", "from_url"),
    ("app/core/queue.py", "Celery"),
    ("app/outbound/sending.py", "AsyncConnectionPool"),
    ("app/rate_limits/counting.py", "from_url"),
    ("app/relay/service.py", "connect"),
    ("migrations/__main__.py", "create_engine"),
    ("migrations/env.py", "create_engine"),
}
OPENERS = {
    "AsyncClient", "AsyncConnection.connect", "AsyncConnectionPool", "Celery", "Client",
    "Connection.connect", "ConnectionPool", "HTTPConnection", "Redis", "SMTP", "create_async_engine",
    "create_connection", "create_engine", "from_url", "open_connection", "psycopg.connect", "urlopen",
}  # fmt: skip


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes every connection, and says nothing."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    taken: list[socket.socket] = []

    def take() -> None:
        while True:
            try:
                taken.append(listening.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    yield int(listening.getsockname()[1])
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()
    for connection in taken:
        connection.close()


@pytest.fixture
def asked(settings: Settings, silent: int, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Everything is at the server that says nothing."""
    monkeypatch.setattr("app.core.database.SECONDS_TO_CONNECT", 2)  # no less is waited for
    monkeypatch.setattr("app.relay.service.SECONDS_TO_CONNECT", 2)
    monkeypatch.setattr("app.core.queue.SECONDS_TO_ANSWER", 1.0)
    monkeypatch.setattr(object_store, "CLIENT_OPTIONS", {"connect_timeout": "1s", "timeout": "1s"})
    retries = {"max_retries": 1, "retry_timeout": timedelta(seconds=1)}
    monkeypatch.setattr(object_store, "RETRIES", retries)
    for name, value in {
        "ENDPOINT": f"http://127.0.0.1:{silent}",
        "ALLOW_HTTP": "true",
        "REGION": "us-east-1",
        "ACCESS_KEY_ID": "nobody",
        "SECRET_ACCESS_KEY": "nothing",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)

    def moved(url: SecretStr | None) -> SecretStr:
        assert url is not None
        there = make_url(url.get_secret_value()).set(port=silent)
        return SecretStr(there.render_as_string(hide_password=False))

    return settings.model_copy(
        update={
            "database_url": moved(settings.database_url),
            "relay_database_url": moved(settings.relay_database_url),
            "owner_database_url": moved(settings.owner_database_url),
            "broker_url": SecretStr(f"redis://127.0.0.1:{silent}/0"),
        }
    )


def test_a_server_that_says_nothing_is_waited_for_so_long_and_no_longer(
    asked: Settings, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []

    def listen() -> None:
        """The relay's connection for notifications; without it the sweep brings everything."""
        relay = Relay(asked)
        relay._log = type("Log", (), {"warning": lambda _, name, **more: said.append((name, more))})()
        relay._listen()
        raise TimeoutError if relay._listener is None else AssertionError

    async def ask_the_api_s_pool() -> None:
        engine = async_engine(asked)
        try:
            async with engine.connect():
                pass
        finally:
            await engine.dispose()

    async def post() -> None:
        limits = Limits(connect=1.0, read=1.0, total=2.0)
        sender = Sender(read_listed(f"127.0.0.1:{silent}"))
        await sender.post(f"http://127.0.0.1:{silent}/hook", {}, b"{}", limits)

    assert asked.owner_database_url is not None
    owner, relay_url = asked.owner_database_url.get_secret_value(), asked.relay_database_url
    assert relay_url is not None
    calls: dict[str, Callable[[], object]] = {
        "the API's pool": lambda: asyncio.run(ask_the_api_s_pool()),
        "the pools of worker and relay": sync_engine(asked, relay_url.get_secret_value(), "x").connect,
        "the operator's commands": owner_engine(owner).connect,
        "the relay's ear": listen,
        "an object": lambda: ObjectStore(f"s3://bucket/{uuid4()}").size("a/b/c"),
        "the broker": lambda: send_wake(celery_client(asked), uuid4()),
        "a webhook": lambda: asyncio.run(post()),
    }
    ended: dict[str, Exception | None] = {}

    def run(name: str) -> None:
        try:
            calls[name]()
        except Exception as error:
            ended[name] = error
        else:
            ended[name] = None

    waiting = {name: threading.Thread(target=run, args=(name,), daemon=True) for name in calls}
    for thread in waiting.values():
        thread.start()
    for name, thread in waiting.items():
        thread.join(SECONDS)
        assert ended.get(name) is not None, name
    assert said


def test_nobody_else_opens_connections() -> None:
    """What does is to be added to the list above, and to the test above with the time that it waits."""
    found = set()
    for package in ("app", "worker", "migrations", "models"):
        for file in sorted((ROOT / package).rglob("*.py")):
            place = str(file.relative_to(ROOT))
            if place.startswith("app/standalone/"):
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    if name in OPENERS or name.rpartition(".")[2] in OPENERS:
                        found.add((place, name.rpartition(".")[2]))
    assert found == PLACES
