"""A Redis of our own: reachable by password only, with nothing on disk but its settings."""

import stat
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.standalone.redis import RedisServer
from tests.standalone.processes import child_of, kill, mentioning
from tests.standalone.waiting import eventually


def connected(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0))


def test_only_the_password_opens_it(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        with connected(server) as client:
            assert client.set("key", "value")
            assert client.config_get("bind") == {"bind": "127.0.0.1"}
        with (
            redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as nobody,
            pytest.raises(redis.exceptions.AuthenticationError),
        ):
            nobody.get("key")
        settings = server.folder / "redis.conf"
        assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    assert sorted(path.name for path in server.folder.iterdir()) == ["redis.conf", "redis.log"]


def test_it_resumes_empty_on_its_port_after_it_was_killed(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server, connected(server) as client:
        client.set("key", "value")
        kill(child_of(server.process.guard_pid))
        assert eventually(lambda: not server.process.running)
        server.resume()
        assert eventually(lambda: answers(client))
        assert client.get("key") is None


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.RedisError:
        return False


def test_nothing_is_left_after_the_end(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        assert mentioning(server.folder)
    assert mentioning(server.folder) == []
    assert server.process.exit_code == 0
