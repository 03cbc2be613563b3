"""Budgets of calls: whose they are, what is said about them, and that Redis may go at any time."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.core.problems import MEDIA_TYPE
from app.core.settings import Settings
from app.main import create_app
from app.rate_limits.budgets import READS, Budget, address_of
from app.rate_limits.counting import Calls
from app.standalone.redis import RedisServer
from tests.app.conftest import calling
from tests.app.world import World

pytestmark = pytest.mark.anyio

READ, WRITE, STRANGE = 4, 3, 5
WINDOW = 10_000_000_000  # windows begin at whole multiples: no test sees the next one
BUDGET = Budget(READS, "somebody", 10)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Of this test's own: it is stopped."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def settings(settings: Settings, redis: RedisServer) -> Settings:
    """With patience with a busy machine."""
    return settings.model_copy(
        update={
            "rate_limit_redis_url": SecretStr(redis.url),
            "rate_limit_reads": READ,
            "rate_limit_writes": WRITE,
            "rate_limit_strangers": STRANGE,
            "rate_limit_window_seconds": WINDOW,
            "rate_limit_patience_seconds": 30,
        }
    )


@pytest.fixture
async def calls(settings: Settings) -> AsyncIterator[Calls]:
    made = Calls(settings)
    yield made
    await made.close()


async def test_each_key_has_budgets_for_reading_and_writing(app: FastAPI, world: World) -> None:
    """The first call of a key that is not known yet is charged to its address."""
    async with calling(app, world.key("acme", "admin")) as client:
        first = await client.get("/v1/jobs")
        assert first.headers["ratelimit-policy"] == f'"strangers";q={STRANGE};w={WINDOW}'
        for number in range(READ):
            answer = await client.get("/v1/jobs")
            assert answer.status_code == 200
            assert answer.headers["ratelimit-policy"] == f'"reads";q={READ};w={WINDOW}'
            said = re.fullmatch(r'"reads";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
            assert said is not None
            assert (int(said[1]), 0 < int(said[2]) <= WINDOW) == (READ - number - 1, True)
        refused = await client.get("/v1/jobs")
        assert (refused.status_code, refused.headers["content-type"]) == (429, MEDIA_TYPE)
        problem = refused.json()
        assert (problem["code"], problem["violated-policies"]) == ("too_many_requests", ["reads"])
        assert problem["request_id"] == refused.headers["x-request-id"]
        assert refused.headers["ratelimit"] == f'"reads";r=0;t={refused.headers["retry-after"]}'
        written = await client.post("/v1/instance-lists", json={"instances": ["a"]})
        assert written.status_code == 201
        assert written.headers["ratelimit"].startswith(f'"writes";r={WRITE - 1};')
        opendsr = await client.get("/opendsr/v2/discovery")
        assert opendsr.status_code == 429
    async with calling(app, world.key("acme", "admin")) as another:
        assert [(await another.get("/v1/jobs")).status_code for _ in range(2)] == [200, 200]


async def test_who_guesses_is_slowed_and_holds_up_nobody_who_is_known(app: FastAPI, world: World) -> None:
    async with calling(app, world.key("acme", "admin")) as known:
        assert (await known.get("/v1/jobs")).status_code == 200
        async with calling(app, "lethe_aaaaaaaaaaaa_" + "b" * 40) as guessing, calling(app, None) as nobody:
            answers = [(await guessing.get("/v1/jobs")).status_code for _ in range(2)]
            answers += [(await nobody.get("/v1/nothing")).status_code for _ in range(2)]
            assert answers == [401, 401, 404, 404]
            assert (await guessing.get("/v1/jobs")).status_code == 429
            assert (await nobody.get("/opendsr/v2/discovery")).status_code == 429
            for path in ("/healthz", "/readyz", "/metrics", "/.well-known/lethe-signing-keys.json"):
                free = await nobody.get(path)
                assert free.status_code == 200, path
                assert "ratelimit" not in free.headers
        assert (await known.get("/v1/jobs")).status_code == 200


async def test_a_revoked_key_is_a_strangers(app: FastAPI, world: World) -> None:
    async with calling(app, world.key("acme", "admin")) as client:
        for _ in range(2):
            assert (await client.get("/v1/jobs")).status_code == 200
        world.run("UPDATE api_keys SET revoked_at = now()")
        assert (await client.get("/v1/jobs")).status_code == 401
        said = (await client.get("/v1/jobs")).headers["ratelimit"]
        assert said.startswith('"strangers"')


async def test_processes_count_together_until_redis_goes_and_again_when_it_is_back(
    settings: Settings, calls: Calls, redis: RedisServer
) -> None:
    other = Calls(settings)
    assert [(await each.charge(BUDGET)).used for each in (calls, other, calls)] == [1, 2, 3]
    redis.stop()
    # Whoever notices waits no longer than it takes to be refused; everybody after it does not wait at all.
    assert (await calls.charge(BUDGET)).used == 1
    assert (await calls.charge(BUDGET)).used == 2
    assert (await other.charge(BUDGET)).used == 1
    redis.resume()
    async with asyncio.timeout(60):
        while (await calls.charge(BUDGET)).used != 1:  # the new server knows of no call before
            await asyncio.sleep(0.1)
    await other.close()


async def test_a_redis_that_does_not_answer_is_waited_for_once(settings: Settings) -> None:
    """It takes connections, and says nothing. Were it asked each time, a hundred calls would take seconds."""
    asked = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    silence = {"rate_limit_redis_url": SecretStr(f"redis://127.0.0.1:{port}")}
    calls = Calls(settings.model_copy(update=silence | {"rate_limit_patience_seconds": 0.025}))
    used = [(await calls.charge(BUDGET)).used for _ in range(100)]
    assert used == list(range(1, 101))
    assert asked == 1
    await calls.close()
    silent.close()


async def test_the_service_takes_requests_in_without_any_redis(
    settings: Settings, world: World, redis: RedisServer
) -> None:
    redis.stop()
    app = create_app(settings)
    async with app.router.lifespan_context(app), calling(app, world.key("acme", "admin")) as client:
        world.ready_model()
        sent = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
        answers = [await client.post("/v1/deletion-requests", json=sent) for _ in range(WRITE + 2)]
        assert [answer.status_code for answer in answers] == [202] * (WRITE + 1) + [429]


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::"),
        (None, "local"),
    ],
)
async def test_addresses(client: tuple[str, int] | None, address: str) -> None:
    assert address_of({"type": "http", "client": client}) == address
