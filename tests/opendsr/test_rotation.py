"""Tables of identities while hash keys rotate: whoever was found before is found after."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.core.settings import Settings
from app.main import create_app
from tests.app.conftest import calling
from tests.app.test_hash_keys import rotate, rotated
from tests.app.world import World
from tests.opendsr.test_opendsr import REQUESTS, erasure, upload

pytestmark = pytest.mark.anyio


@pytest.fixture
async def later(settings: Settings, world: World, anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    """The service after it was restarted with a new key."""
    made = create_app(rotated(settings))
    async with made.router.lifespan_context(made), calling(made, world.key("acme", "admin")) as client:
        yield client


@pytest.mark.parametrize("moved", [False, True], ids=["before the command", "after the command"])
async def test_who_is_in_the_table_is_found_under_the_new_key(
    client: httpx.AsyncClient, later: httpx.AsyncClient, world: World, settings: Settings, moved: bool
) -> None:
    world.ready_model()
    await upload(client, "scan-1", "scan-2")
    if moved:
        assert rotate(world, rotated(settings))
    await upload(later, "scan-3")
    answer = await later.post(REQUESTS, json=erasure())
    assert answer.status_code == 201, answer.text
    assert world.rows("SELECT instance_count FROM opendsr_requests") == [(3,)]
    assert world.rows("SELECT count(*) FROM identity_instances") == [(9,)]


async def test_what_came_before_a_rotation_and_is_sent_again_is_the_same(
    client: httpx.AsyncClient, later: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    """Between the restart and the command, and after it; another body is still another one."""
    world.ready_model()
    await upload(client, "scan-1")
    body = erasure()
    first = await client.post(REQUESTS, json=body)
    for moved in (False, True):
        if moved:
            assert rotate(world, rotated(settings))
        again = await later.post(REQUESTS, json=body)
        assert (again.status_code, again.json()["subject_request_id"]) == (201, body["subject_request_id"])
        assert again.json()["received_time"] == first.json()["received_time"]
        refused = await later.post(REQUESTS, json=body | {"regulation": "ccpa"})
        assert (refused.status_code, refused.json()["error"]["errors"][0]["reason"]) == (
            400,
            "subject_request_id_reused",
        )
    assert world.rows("SELECT count(*) FROM deletion_requests WHERE parent_id IS NULL") == [(1,)]


async def test_a_process_without_the_tables_key_says_so_and_takes_nobody_for_unknown(
    client: httpx.AsyncClient, later: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    world.ready_model()
    await upload(client, "scan-1")
    rotate(world, rotated(settings))
    refused = await client.post(REQUESTS, json=erasure())
    assert refused.status_code >= 400
    assert world.rows("SELECT count(*) FROM opendsr_requests") == [(0,)]
    sent = {"identities": [{"identity_type": "email", "identity_value": "a@b.c", "instances": ["scan-1"]}]}
    refused = await client.post("/v1/datasets/scans/identities", json=sent)
    assert (refused.status_code, refused.json()["code"]) == (409, "hash_key_changed")
