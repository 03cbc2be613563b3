"""Holds, retention and destruction over HTTP."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.orm import sessionmaker

from app.core.storage import Storage
from app.registered_models.destruction import CONFIRM_WITHIN
from app.relay.journal import Journal
from app.relay.life import delete_versions, settle_destroyed
from tests.app.conftest import calling
from tests.app.world import World

BODY = {"instances": ["scan-1"], "tasks": "all"}
REASON = {"reason": "Order 17"}


async def said(call: Any, *expected: Any) -> dict[str, Any]:
    answer = await call
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, *([body["code"]] if len(expected) == 2 else [])) == expected, answer.text
    return body


async def test_a_hold_is_placed_seen_and_lifted_and_audited(
    client: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    world.ready_model()
    model = await said(client.post("/v1/models/reader/holds", json=REASON), 201)
    version = await said(client.post("/v1/models/reader/holds", json=REASON | {"version": 1}), 201)
    assert (model["version"], version["version"], version["lifted_at"]) == (None, 1, None)
    assert (await client.get("/v1/models/reader/versions/1")).json()["on_hold"]
    await said(client.post("/v1/models/reader/holds", json=REASON | {"version": 1}), 409, "hold_exists")
    await said(client.post("/v1/models/reader/holds", json=REASON | {"version": 2}), 404, "version_not_found")
    await said(client.post("/v1/models/reader/holds", json={}), 422, "validation_error")
    for hold in (model, version):
        lifted = await said(client.post(f"/v1/models/reader/holds/{hold['id']}/lift", json=REASON), 200)
        assert lifted["lift_reason"] == "Order 17"
    again = client.post(f"/v1/models/reader/holds/{model['id']}/lift", json=REASON)
    await said(again, 409, "hold_lifted")
    assert not (await client.get("/v1/models/reader/versions/1")).json()["on_hold"]
    listed = (await client.get("/v1/models/reader/holds")).json()["data"]
    assert [hold["id"] for hold in listed] == [version["id"], model["id"]]
    actions = world.rows("SELECT action FROM audit_log WHERE action LIKE 'legal_hold.%' ORDER BY id")
    assert [action for (action,) in actions] == ["legal_hold.place"] * 2 + ["legal_hold.lift"] * 2
    async with calling(app, world.key("other", "admin")) as other:
        await said(other.post("/v1/models/reader/holds", json=REASON), 404, "model_not_found")
    async with calling(app, world.key("acme", "models:write")) as writer:
        await said(writer.post("/v1/models/reader/holds", json=REASON), 403, "scope_missing")


async def test_what_is_decided_enters_the_journal_again(client: httpx.AsyncClient, world: World) -> None:
    """So that a restore of an older backup brings none of it back."""

    async def unjournaled(call: Any, table: str, expected: int) -> dict[str, Any]:
        for each in ("registered_models", "legal_holds"):
            world.run(f"UPDATE {each} SET journaled_at = now()")
        before = world.run("SELECT decided_at FROM registered_models")
        answer = await said(call, expected)
        assert world.run(f"SELECT count(*) FROM {table} WHERE journaled_at IS NULL") == 1
        later = world.run("SELECT decided_at FROM registered_models") > before
        assert later == (table == "registered_models")
        return answer

    world.ready_model()
    hold = await unjournaled(client.post("/v1/models/reader/holds", json=REASON), "legal_holds", 201)
    lift = client.post(f"/v1/models/reader/holds/{hold['id']}/lift", json=REASON)
    await unjournaled(lift, "legal_holds", 200)
    clock = {"quarantine_after": 0.5, "delete_after": None}
    await unjournaled(client.put("/v1/models/reader/retention", json=clock), "registered_models", 200)
    doomed = await said(client.post("/v1/models/reader/destroy", json=REASON), 200)
    sure = REASON | {"confirmation": doomed["confirmation"]}
    await unjournaled(client.post("/v1/models/reader/destroy", json=sure), "registered_models", 200)


async def test_the_clock_can_be_set_and_a_withdrawn_version_released(
    client: httpx.AsyncClient, world: World
) -> None:
    model = world.ready_model()
    world.version(model, 2, "quarantined", parent=world.run("SELECT id FROM model_versions"))
    clock = {"quarantine_after": 0.5, "delete_after": None}
    policy = (await said(client.put("/v1/models/reader/retention", json=clock), 200))["policy"]
    assert policy["visits"] == 60
    assert {name: policy[name] for name in clock} == clock
    await said(client.put("/v1/models/reader/retention", json={"delete_after": 1}), 422, "validation_error")
    released = await said(client.post("/v1/models/reader/versions/2/release", json=REASON), 200)
    assert released["state"] == "superseded"
    again = client.post("/v1/models/reader/versions/2/release", json=REASON)
    await said(again, 409, "version_not_quarantined")


async def test_a_model_and_all_that_descends_from_it_is_destroyed_on_a_second_word(
    client: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    for name, source in (("reader", None), ("tuned", "reader"), ("tuned-again", "tuned"), ("other", None)):
        world.ready_model(name=name)
        world.run(
            "UPDATE registered_models SET derived_from_version_id = (SELECT v.id FROM model_versions v"
            " JOIN registered_models m ON m.id = v.registered_model_id WHERE m.name = :source)"
            " WHERE name = :name",
            source=source,
            name=name,
        )
    request = await said(client.post("/v1/deletion-requests", json=BODY | {"model": "tuned"}), 202)
    url = "/v1/models/reader/destroy"
    told = await said(client.post(url, json=REASON), 200)
    assert told["status"] == "confirmation_needed"
    assert [(m["model"], m["open_requests"]) for m in told["models"]] == [
        ("reader", 0),
        ("tuned", 1),
        ("tuned-again", 0),
    ]
    assert (await client.get("/v1/models/reader/versions/1/checkpoint")).status_code == 200

    confirmed = REASON | {"confirmation": told["confirmation"]}
    held = await said(client.post("/v1/models/tuned/holds", json=REASON), 201)
    assert held["id"] in (await said(client.post(url, json=confirmed), 409, "legal_hold"))["holds"]
    await said(client.post(f"/v1/models/tuned/holds/{held['id']}/lift", json=REASON), 200)
    for wrong in ("x", told["confirmation"].replace(told["confirmation"][:4], "9999", 1)):
        await said(client.post(url, json=REASON | {"confirmation": wrong}), 409, "confirmation_mismatch")
    elsewhere = client.post("/v1/models/other/destroy", json=confirmed)
    await said(elsewhere, 409, "confirmation_mismatch")
    async with calling(app, world.key("acme", "models:write")) as writer:
        await said(writer.post(url, json=confirmed), 403, "scope_missing")

    assert (await said(client.post(url, json=confirmed), 200))["status"] == "destroyed"
    for name in ("reader", "tuned", "tuned-again"):
        await said(client.get(f"/v1/models/{name}/versions/1/checkpoint"), 410, "model_destroyed")
        assert (await client.get(f"/v1/models/{name}")).json()["status"] == "destroyed"
    assert (await client.get("/v1/models/other/versions/1/checkpoint")).status_code == 200
    refused = client.post("/v1/deletion-requests", json=BODY | {"model": "reader"})
    await said(refused, 410, "model_destroyed")
    await said(client.post(url, json=REASON), 410, "model_destroyed")
    await said(client.post("/v1/models/reader/holds", json=REASON), 410, "model_destroyed")
    await said(client.put("/v1/models/reader/aliases/best", json={"version": 1}), 410, "model_destroyed")

    relay = sessionmaker(world.engine)
    assert await asyncio.to_thread(settle_destroyed, relay) == 1
    assert await asyncio.to_thread(delete_versions, relay, app.state.storage) == 3
    shown = (await client.get(f"/v1/deletion-requests/{request['id']}")).json()
    assert (shown["status"], shown["error_code"]) == ("failed", "model_destroyed")
    version = (await client.get("/v1/models/reader/versions/1")).json()
    assert (version["state"], len(version["digest"])) == ("deleted", 71)
    assert world.run("SELECT count(*) FROM audit_log WHERE action = 'model.destroy'") == 3


async def test_a_confirmation_is_for_what_was_told(
    client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was then, and for a quarter of an hour."""
    world.ready_model()
    url = "/v1/models/reader/destroy"
    told = await said(client.post(url, json=REASON), 200)
    late = time.time() + CONFIRM_WITHIN + 1
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: late)
        confirmed = client.post(url, json=REASON | {"confirmation": told["confirmation"]})
        await said(confirmed, 409, "confirmation_expired")
    made = await said(client.post("/v1/deletion-requests", json=BODY | {"model": "reader"}), 202)
    world.claim(made["job"])
    world.publish(made["job"])
    confirmed = client.post(url, json=REASON | {"confirmation": told["confirmation"]})
    await said(confirmed, 409, "confirmation_mismatch")

    told = await said(client.post(url, json=REASON), 200)
    world.ready_model(name="newer")
    world.run(
        "UPDATE registered_models SET derived_from_version_id = (SELECT head_version_id"
        " FROM registered_models WHERE name = 'reader') WHERE name = 'newer'"
    )
    confirmed = REASON | {"confirmation": told["confirmation"]}
    await said(client.post("/v1/models/reader/destroy", json=confirmed), 409, "confirmation_mismatch")


async def test_raw_instance_ids_are_nowhere(
    client: httpx.AsyncClient, world: World, pg_dump: str, settings: Any
) -> None:
    """Not in the database, not in the storage: neither while a request waits nor when it is done."""
    import subprocess

    names = ["person-4711-of-somewhere", "person-4712-of-somewhere", "person-4713-of-somewhere"]
    world.ready_dataset(instances=names)
    world.ready_model()
    sent = await client.post("/v1/instance-lists", json={"instances": names[:1]})
    by_list = {"model": "reader", "instance_list": sent.json()["id"], "tasks": ["digit"]}
    headers = {"Idempotency-Key": "one"}
    await said(client.post("/v1/deletion-requests", json=by_list), 202)
    named = {"model": "reader", "instances": names[1:2], "tasks": "all"}
    made = await said(client.post("/v1/deletion-requests", json=named, headers=headers), 202)
    await client.post("/v1/lookups", json={"dataset": "scans", "instances": names})
    await client.post("/v1/deletion-requests", json=named | {"instances": ["person-4714-of-somewhere"]})

    def dumped() -> bytes:
        url = re.sub(r"\+\w+", "", world.engine.url.render_as_string(hide_password=False))
        done = subprocess.run([pg_dump, "--data-only", "--inserts", url], check=True, capture_output=True)
        return done.stdout

    def stored() -> bytes:
        """With the journal, as the relay writes it."""
        assert Journal(sessionmaker(world.engine), Storage(settings.storage_url)).write() == 2
        folder = Path(settings.storage_url.removeprefix("file://"))
        return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())

    kept = await asyncio.to_thread(stored)
    assert made["id"].encode() in kept
    assert b"of-somewhere" not in kept
    assert made["id"].encode() in await asyncio.to_thread(dumped)
    assert b"of-somewhere" not in await asyncio.to_thread(dumped)
    world.claim(made["job"])
    world.publish(made["job"])
    assert b"of-somewhere" not in await asyncio.to_thread(dumped)
