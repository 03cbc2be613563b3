"""Hash keys rotate, and the ledger, the index, requests and lists lose nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.orm import Session

from app.core.hashing import UnknownHashKey, advance_hashes, hash_instances
from app.core.settings import OldHashKey, Settings
from app.hash_keys import rotate_hash_key
from app.main import create_app
from tests.app.conftest import calling
from tests.app.world import World

BODY = {"model": "reader", "instances": ["scan-1", "scan-2"], "tasks": "all"}


def rotated(settings: Settings) -> Settings:
    old = OldHashKey(id=settings.hash_key_id, key=settings.hash_key)
    fresh = SecretStr("ab" * 32)
    return settings.model_copy(update={"hash_key": fresh, "hash_key_id": "k2", "old_hash_keys": [old]})


@pytest.fixture
async def later(settings: Settings, world: World, anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    """The service after it was restarted with a new key."""
    made = create_app(rotated(settings))
    async with made.router.lifespan_context(made), calling(made, world.key("acme", "admin")) as client:
        yield client


def rotate(world: World, settings: Settings) -> int:
    with Session(world.engine) as session, session.begin():
        return rotate_hash_key(session, world.tenant(), settings)


def test_layers(settings: Settings, world: World) -> None:
    tenant = world.tenant()
    new = rotated(settings)
    first = hash_instances(["a", "b"], tenant, settings)
    assert hash_instances(["a", "b"], tenant, new, "k1") == first
    assert advance_hashes(first, tenant, new, "k1") == hash_instances(["a", "b"], tenant, new) != first
    assert advance_hashes(first, tenant, new, "k1", "k1") == first
    for before, after in (("k2", "k1"), ("k0", None), ("k1", "k9")):
        with pytest.raises(UnknownHashKey):
            advance_hashes(first, tenant, new, before, after)


async def test_what_was_forgotten_under_the_old_key_is_recognised_under_the_new(
    client: httpx.AsyncClient, later: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    world.ready_model()
    made = (await client.post("/v1/deletion-requests", json=BODY)).json()
    world.claim(made["job"])
    world.publish(made["job"])
    listed = (await client.post("/v1/instance-lists", json={"instances": ["scan-1", "scan-3"]})).json()
    waiting = (await client.post("/v1/deletion-requests", json=BODY | {"instances": ["scan-5"]})).json()

    async def looks_the_same() -> None:
        """Between restart and rotation, and after it."""
        again = await later.post("/v1/deletion-requests", json=BODY)
        assert (again.status_code, again.json()["status"]) == (200, "succeeded"), again.text
        dry = BODY | {"instances": ["scan-1", "scan-4"]}
        told = await later.post("/v1/deletion-requests", params={"dry_run": True}, json=dry)
        assert told.json()["models"][0]["already_forgotten"] == 1
        by_list = {"model": "reader", "instance_list": listed["id"], "tasks": "all"}
        told = await later.post("/v1/deletion-requests", params={"dry_run": True}, json=by_list)
        assert told.json()["models"][0]["already_forgotten"] == 1
        looked = await later.post("/v1/lookups", json={"dataset": "scans", "instances": ["scan-2", "scan-5"]})
        states = [each["models"][0]["tasks"][0]["state"] for each in looked.json()["data"]]
        assert states == ["forgotten", "pending"]

    await looks_the_same()
    new = rotated(settings)
    counts = "SELECT (SELECT count(*) FROM forgotten_supervision), (SELECT count(*) FROM dataset_instances)"
    before = world.rows(counts)
    assert await asyncio.to_thread(rotate, world, new) == 20
    assert await asyncio.to_thread(rotate, world, new) == 0
    assert world.rows(counts) == before
    for table in ("datasets", "deletion_requests", "forgotten_supervision", "instance_lists"):
        assert world.rows(f"SELECT DISTINCT hash_key_id FROM {table}") == [("k2",)]
    await looks_the_same()

    named = world.run(
        "SELECT instance_hash FROM deletion_request_items WHERE deletion_request_id = :id", id=waiting["id"]
    )
    assert [bytes(named)] == hash_instances(["scan-5"], world.tenant(), new)
    old = await client.post("/v1/deletion-requests", json=BODY)
    assert (old.status_code, old.json()["code"]) == (409, "hash_key_changed"), "restart it with the new key"
    assert world.run("SELECT count(*) FROM audit_log WHERE action = 'hash_key.rotate'") == 1


async def test_a_request_that_meets_a_rotation_is_told_to_come_again(
    client: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    """It waits for the rotation, whose key it was not hashed under, and writes nothing."""
    world.ready_model()
    new = rotated(settings)
    with Session(world.engine) as session, session.begin():
        rotate_hash_key(session, world.tenant(), new)
        posted: asyncio.Task[Any] = asyncio.create_task(client.post("/v1/deletion-requests", json=BODY))
        while not world.run(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO deletion_requests%'"
        ):
            await asyncio.sleep(0.01)
    answer = await posted
    assert (answer.status_code, answer.json()["code"]) == (409, "hash_key_changed")
    assert world.run("SELECT count(*) FROM deletion_requests") == 0
    assert world.run("SELECT count(*) FROM deletion_request_items") == 0


def test_a_key_that_is_not_configured_is_refused(world: World, settings: Settings) -> None:
    world.ready_model()
    with pytest.raises(UnknownHashKey, match="k1"):
        rotate(world, settings.model_copy(update={"hash_key_id": "k3"}))
