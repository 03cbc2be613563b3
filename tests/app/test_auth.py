"""Who gets in, and how far."""

import asyncio
import logging

import httpx
import pytest
from fastapi import FastAPI

from tests.app.conftest import calling
from tests.app.world import World

pytestmark = pytest.mark.anyio


async def test_keys_that_do_not_open(app: FastAPI, world: World, subtests: pytest.Subtests) -> None:
    good, revoked, expired = (world.key("acme", "models:read") for _ in range(3))
    world.run("UPDATE api_keys SET revoked_at = now() WHERE public_id = :p", p=revoked.split("_")[1])
    world.run("UPDATE api_keys SET expires_at = now() WHERE public_id = :p", p=expired.split("_")[1])
    other_secret = good[:-1] + ("0" if good[-1] != "0" else "1")
    cases = {
        "none": (None, "api_key_missing"),
        "another scheme": ("Basic YTpi", "api_key_missing"),
        "empty": ("Bearer ", "api_key_missing"),
        "garbage": ("Bearer x", "api_key_invalid"),
        "wrong secret": (f"Bearer {other_secret}", "api_key_invalid"),
        "unknown id": ("Bearer lethe_" + "0" * 12 + "_" + "0" * 48, "api_key_invalid"),
        "revoked": (f"Bearer {revoked}", "api_key_revoked"),
        "expired": (f"Bearer {expired}", "api_key_expired"),
    }
    async with calling(app, None) as client:
        for name, (header, code) in cases.items():
            with subtests.test(name):
                headers = {"Authorization": header} if header else {}
                answer = await client.get("/v1/models", headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, code)
                assert answer.headers["www-authenticate"].startswith("Bearer")
        answer = await client.get("/v1/models", headers={"Authorization": f"bearer {good}"})
        assert answer.status_code == 200


async def test_a_scope_that_is_too_weak_is_named(app: FastAPI, world: World) -> None:
    async with calling(app, world.key("acme", "models:read")) as client:
        assert (await client.get("/v1/models")).status_code == 200
        answer = await client.get("/v1/deletion-requests")
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
        assert answer.json()["scope"] == "requests:read"
        assert "requests:read" in answer.json()["detail"]


async def test_last_use_is_noted_beside_the_request(app: FastAPI, world: World) -> None:
    async with calling(app, world.key("acme", "admin")) as client:
        await client.get("/v1/models")
        await asyncio.gather(*app.state.background)
        first = world.run("SELECT last_used_at FROM api_keys")
        assert first is not None
        await client.get("/v1/models")
        assert not app.state.background
        assert world.run("SELECT last_used_at FROM api_keys") == first


async def test_a_locked_key_does_not_hold_up_requests(app: FastAPI, world: World) -> None:
    key = world.key("acme", "admin")
    with world.engine.begin() as connection:
        connection.exec_driver_sql("SELECT * FROM api_keys FOR UPDATE")
        async with calling(app, key) as client, asyncio.timeout(5):
            assert (await client.get("/v1/models")).status_code == 200
            await asyncio.gather(*app.state.background)


async def test_keys_over_http(client: httpx.AsyncClient, app: FastAPI) -> None:
    made = await client.post(
        "/v1/api-keys", json={"name": "desk", "scopes": ["models:read"], "expires_in_days": 3}
    )
    assert made.status_code == 201, made.text
    key = made.json()["key"]
    async with calling(app, key) as desk:
        assert (await desk.get("/v1/models")).status_code == 200
        assert (await desk.get("/v1/api-keys")).status_code == 403
        listed = await client.get("/v1/api-keys")
        assert key.split("_")[2] not in listed.text
        assert [item["name"] for item in listed.json()["data"]] == ["desk", "test"]
        revoked = await client.delete(f"/v1/api-keys/{made.json()['id']}")
        assert revoked.json()["revoked_at"]
        assert (await desk.get("/v1/models")).status_code == 401
    again = await client.delete(f"/v1/api-keys/{made.json()['id']}")
    assert again.json()["revoked_at"] == revoked.json()["revoked_at"]
    bad = await client.post("/v1/api-keys", json={"name": "desk", "scopes": ["root"]})
    assert bad.status_code == 422


async def test_a_rotated_key_opens_beside_its_successor_for_a_while(
    client: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    world.ready_model()
    sent = {"name": "desk", "scopes": ["models:read"], "models": ["reader"], "expires_in_days": 10}
    old = (await client.post("/v1/api-keys", json=sent)).json()
    at = f"/v1/api-keys/{old['id']}"
    new = (await client.post(f"{at}/rotate", json={"overlap_hours": 1})).json()
    same = ("name", "scopes", "models")
    assert [new[name] for name in same] == [old[name] for name in same]
    assert new["rotated_from"] == old["id"]
    assert new["expires_at"] > old["expires_at"]  # as long as the old one was made for, from now
    left = "SELECT extract(epoch FROM expires_at - now()) / 60 FROM api_keys WHERE id = :id"
    assert 55 < world.run(left, id=old["id"]) <= 60
    async with calling(app, old["key"]) as before, calling(app, new["key"]) as after:
        assert (await before.get("/v1/models/reader")).status_code == 200
        assert (await after.get("/v1/models/reader")).status_code == 200
        # Once more, without an overlap: whoever did not get the answer makes another.
        once_more = await client.post(f"{at}/rotate", json={"overlap_hours": 0, "expires_in_days": 1})
        assert once_more.status_code == 201
        assert (await before.get("/v1/models")).json()["code"] == "api_key_expired"
        assert (await after.get("/v1/models")).status_code == 200
    refused = await client.post(f"{at}/rotate", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "api_key_ended")
    actions = world.rows("SELECT action FROM audit_log WHERE subject_id = :id ORDER BY id", id=old["id"])
    assert [row.action for row in actions] == ["api_key.create", "api_key.rotate", "api_key.rotate"]


async def test_logs_hold_no_secrets_and_no_subjects(
    app: FastAPI, world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    world.ready_model()
    key = world.key("acme", "admin")
    caplog.set_level(logging.WARNING, logger="httpx")  # the client's own
    caplog.set_level(logging.DEBUG)
    async with calling(app, key) as client:
        for instances in (["scan-1"], ["jane.doe@example.org"], [""]):
            body = {"model": "reader", "instances": instances, "tasks": "all"}
            await client.post("/v1/deletion-requests?note=jane.doe", json=body)
    out, err = capsys.readouterr()
    told = caplog.text + out + err
    assert "/v1/deletion-requests" in told
    for secret in (key.split("_")[2], "jane.doe", "scan-1"):
        assert secret not in told
