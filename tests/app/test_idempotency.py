"""A POST that is sent twice is carried out once."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from tests.app.conftest import calling
from tests.app.world import World

pytestmark = pytest.mark.anyio

BODY = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
PATH = "/v1/deletion-requests"


async def test_the_same_key_and_body_replay_the_answer(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    headers = {"Idempotency-Key": '"a-key"'}
    first = await client.post(PATH, json=BODY, headers=headers)
    second = await client.post(PATH, json=BODY, headers={"Idempotency-Key": "a-key"})
    assert first.status_code == second.status_code == 202
    assert first.json() == second.json()
    assert first.headers["location"] == second.headers["location"]
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert world.run("SELECT count(*) FROM deletion_requests") == 1


async def test_the_same_key_with_another_body_is_refused(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    headers = {"Idempotency-Key": "a-key"}
    await client.post(PATH, json=BODY, headers=headers)
    other = await client.post(PATH, json=BODY | {"tasks": ["digit"]}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert world.run("SELECT count(*) FROM deletion_requests") == 1


async def test_a_refused_request_leaves_its_key_free(client: httpx.AsyncClient, world: World) -> None:
    headers = {"Idempotency-Key": "a-key"}
    assert (await client.post(PATH, json=BODY, headers=headers)).status_code == 404
    world.ready_model()
    assert (await client.post(PATH, json=BODY, headers=headers)).status_code == 202


async def test_another_tenant_may_use_the_same_key(
    client: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    world.ready_model()
    world.ready_model("other")
    headers = {"Idempotency-Key": "a-key"}
    first = await client.post(PATH, json=BODY, headers=headers)
    async with calling(app, world.key("other", "requests:write")) as other:
        second = await other.post(PATH, json=BODY, headers=headers)
    assert first.status_code == second.status_code == 202
    assert first.json()["id"] != second.json()["id"]


async def test_an_old_key_is_forgotten(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    headers = {"Idempotency-Key": "a-key"}
    first = await client.post(PATH, json=BODY, headers=headers)
    world.run("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    second = await client.post(PATH, json=BODY | {"tasks": ["digit"]}, headers=headers)
    assert second.status_code == 202
    assert first.json()["id"] != second.json()["id"]


async def test_keys_that_cannot_be_kept(client: httpx.AsyncClient, subtests: pytest.Subtests) -> None:
    for key in ("", '""', "x" * 256, "caf\u00e9"):
        with subtests.test(repr(key)):
            answer = await client.post(PATH, json=BODY, headers={"Idempotency-Key": key.encode()})
            assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid")


async def test_a_dry_run_refuses_the_keys_that_the_request_would_be_refused_for(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    tried = {"url": PATH, "json": BODY, "params": {"dry_run": True}}
    refused = await client.post(**tried, headers={"Idempotency-Key": "k" * 256})
    assert (refused.status_code, refused.json()["code"]) == (400, "idempotency_key_invalid")
    assert (await client.post(**tried, headers={"Idempotency-Key": "a-key"})).status_code == 200
    sent = await client.post(PATH, json=BODY, headers={"Idempotency-Key": "a-key"})
    assert "idempotent-replayed" not in sent.headers


async def test_simultaneous_duplicates_make_one_request(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    headers = {"Idempotency-Key": "a-key"}
    answers = await asyncio.gather(*(client.post(PATH, json=BODY, headers=headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert world.run("SELECT count(*) FROM deletion_requests") == 1
    assert world.run("SELECT count(*) FROM jobs") == 1


async def test_simultaneous_requests_share_one_job(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    answers = await asyncio.gather(
        *(client.post(PATH, json=BODY | {"instances": [f"scan-{i}"]}) for i in range(12))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job"] for answer in answers}) == 1
    assert world.run("SELECT count(*) FROM jobs") == 1
    assert world.run("SELECT count(*) FROM deletion_requests WHERE job_id IS NOT NULL") == 12
