"""From a transition to a receiver: signed, at least once, with retries, and never to where it must not go."""

import base64
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text
from standardwebhooks import Webhook, WebhookVerificationError

from app.core.settings import Settings
from app.relay import service
from app.relay.courier import Courier
from app.relay.service import Relay
from app.webhooks.retrying import MOST_ATTEMPTS, PAUSES, pause_after
from tests.app.world import World
from tests.database import Database
from tests.webhooks.receiver import Receiver, status
from tests.worker.processes import wait_until

pytestmark = pytest.mark.anyio


async def make(client: httpx.AsyncClient, url: str, *events: str) -> dict[str, Any]:
    answer = await client.post("/v1/webhooks", json={"url": url, "events": list(events or ["*"])})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def request(client: httpx.AsyncClient, instance: str = "scan-1") -> dict[str, Any]:
    sent = {"model": "reader", "instances": [instance], "tasks": "all", "reference": "case of Jane Doe"}
    answer = await client.post("/v1/deletion-requests", json=sent)
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json()
    return made


def deliveries(world: World) -> list[Any]:
    return world.rows(
        "SELECT d.*, e.type FROM webhook_deliveries d JOIN events e ON e.id = d.event_id ORDER BY d.event_id"
    )


async def test_every_transition_reaches_the_receiver_signed_and_without_what_a_client_wrote(
    client: httpx.AsyncClient, world: World, receiver: Receiver, courier: Courier
) -> None:
    world.ready_model()
    hook = await make(client, receiver.url)
    made = await request(client)
    world.claim(made["job"])
    world.publish(made["job"])
    wait_until(lambda: len(receiver.received) == 5)
    told = [Webhook(hook["secret"]).verify(one.body, one.headers) for one in receiver.received]
    assert {one["type"] for one in told} == {
        "job.queued",
        "request.queued",
        "request.running",
        "request.succeeded",
        "job.succeeded",
    }
    assert {one["data"]["subject"] for one in told} == {made["id"], made["job"]}
    assert {one["data"]["model"] for one in told} == {"reader"}
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 5
    sent = b"".join(one.body for one in receiver.received)
    assert b"scan-1" not in sent
    assert b"Jane" not in sent
    wait_until(lambda: {row.status for row in deliveries(world)} == {"delivered"})


async def test_an_event_that_was_rolled_back_is_told_to_nobody_and_others_are_told_of_theirs_only(
    client: httpx.AsyncClient, world: World, receiver: Receiver, database: Database
) -> None:
    world.ready_model()
    wanted = await make(client, receiver.url, "request.queued")
    await make(client, receiver.url, "version.*")
    other = world.tenant("other")
    refused = await client.post(
        "/v1/deletion-requests", json={"model": "reader", "instances": ["nobody"], "tasks": "all"}
    )
    assert refused.status_code == 422
    world.run(
        "INSERT INTO events (tenant_id, subject_id, type) VALUES (:t, gen_random_uuid(), 'request.queued')",
        t=other,
    )
    await request(client)
    assert [(str(row.endpoint_id), row.type) for row in deliveries(world)] == [
        (wanted["id"], "request.queued")
    ]
    as_worker = create_engine(database.worker_url)
    with as_worker.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO events (tenant_id, subject_id, type)"
                " VALUES (:t, gen_random_uuid(), 'version.deleted')"
            ),
            {"t": world.tenant("acme")},
        )
    as_worker.dispose()
    assert [row.type for row in deliveries(world)] == ["request.queued", "version.deleted"]


async def test_a_failure_is_tried_again_with_the_same_id_and_bytes_until_it_is_a_dead_letter(
    client: httpx.AsyncClient,
    world: World,
    receiver: Receiver,
    courier: Courier,
    due_now: Callable[[], Any],
) -> None:
    world.ready_model()
    receiver.answer = status(500)
    hook = await make(client, receiver.url, "request.queued")
    await request(client)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        wait_until(lambda attempt=attempt: deliveries(world)[0].attempts == attempt)
        due_now()
        courier.wake()
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 1
    assert len({one.body for one in receiver.received}) == 1
    assert len(receiver.received) == MOST_ATTEMPTS
    at = f"/v1/webhooks/{hook['id']}"
    [dead] = (await client.get(f"{at}/deliveries", params={"status": "dead"})).json()["data"]
    assert (dead["attempts"], dead["last_status"], dead["last_error"]) == (10, 500, "http_500")
    receiver.answer = status(200)
    assert (await client.post(f"{at}/resend")).json() == {"resent": 1}
    courier.wake()
    wait_until(lambda: deliveries(world)[0].status == "delivered")
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 1
    again = await client.post(f"{at}/deliveries/{dead['event']}/resend")
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    courier.wake()
    wait_until(lambda: len(receiver.received) == MOST_ATTEMPTS + 2)


def test_ten_attempts_take_about_three_days() -> None:
    assert MOST_ATTEMPTS == 10
    assert 2.5 < sum(PAUSES) / 86_400 < 3.5
    for attempts, pause in enumerate(PAUSES, start=1):
        drawn = {pause_after(attempts) for _ in range(20)}
        assert len(drawn) > 1
        assert all(one and 0.8 * pause <= one.total_seconds() <= 1.2 * pause for one in drawn)
    assert pause_after(MOST_ATTEMPTS) is None


async def test_410_disables_the_endpoint_and_what_waited_can_be_sent_once_it_is_enabled(
    client: httpx.AsyncClient, world: World, receiver: Receiver, courier: Courier
) -> None:
    world.ready_model()
    receiver.answer = status(410)
    hook = await make(client, receiver.url, "request.queued")
    at = f"/v1/webhooks/{hook['id']}"
    await request(client)
    wait_until(lambda: world.run("SELECT state FROM webhook_endpoints") == "disabled")
    shown = (await client.get(at)).json()
    assert (shown["enabled"], shown["disabled_reason"], shown["dead"]) == (False, "gone", 1)
    await request(client, "scan-2")
    assert len(deliveries(world)) == 1
    receiver.answer = status(204)
    assert (await client.patch(at, json={"enabled": True})).json()["disabled_reason"] is None
    await client.post(f"{at}/resend")
    courier.wake()
    wait_until(lambda: deliveries(world)[0].status == "delivered")


async def test_a_redirect_is_not_followed(
    client: httpx.AsyncClient, world: World, receiver: Receiver, courier: Courier
) -> None:
    world.ready_model()
    with Receiver() as inner:
        receiver.answer = status(307, location=inner.url)
        await make(client, receiver.url, "request.queued")
        await request(client)
        wait_until(lambda: deliveries(world)[0].last_error == "http_307")
        assert inner.received == []


async def test_a_name_that_leads_within_is_told_nothing(
    client: httpx.AsyncClient, world: World, courier: Courier
) -> None:
    """By the system's resolver, and the courier's own list of what may be reached."""
    world.ready_model()
    with Receiver() as inner:
        await make(client, f"https://localhost:{inner.port}/", "request.queued")
        await request(client)
        wait_until(lambda: deliveries(world)[0].last_error is not None)
        assert deliveries(world)[0].last_error == "not_allowed"


async def test_a_receiver_that_never_ends_its_answer_holds_up_nobody_else(
    client: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    """Headers that come a byte at a time (slow loris), for many deliveries; another endpoint beside it."""
    world.ready_model()
    enough, dripping = threading.Event(), threading.Semaphore(0)

    def drip(handler: BaseHTTPRequestHandler, nth: int) -> None:
        dripping.release()
        for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"z" * 10_000:
            handler.wfile.write(bytes([byte]))
            if enough.wait(0.05):
                return

    with Receiver(drip) as slow, Receiver() as quick:
        ports = f"127.0.0.1:{slow.port},127.0.0.1:{quick.port}"
        listed = Settings(**settings.model_dump() | {"webhook_inner_receivers": ports})
        client._transport.app.state.settings = listed  # type: ignore[attr-defined]
        await make(client, slow.url, "request.queued")
        await make(client, quick.url, "request.queued")
        for nth in range(12):
            await request(client, f"scan-{nth}")
        courier = Courier(listed)
        courier.start()
        try:
            assert dripping.acquire(timeout=60)
            wait_until(lambda: len(quick.received) == 12)
            wait_until(
                lambda: world.run("SELECT count(*) FROM webhook_deliveries WHERE last_error = 'timeout'")
            )
            busy = "SELECT count(*) FROM webhook_deliveries WHERE claim IS NOT NULL"
            assert world.run(busy) <= 4
        finally:
            enough.set()
            courier.stop(10)


async def test_after_a_rotation_both_secrets_sign_until_the_old_one_has_had_its_time(
    client: httpx.AsyncClient,
    world: World,
    receiver: Receiver,
    courier: Courier,
) -> None:
    world.ready_model()
    hook = await make(client, receiver.url, "request.queued")
    at = f"/v1/webhooks/{hook['id']}"
    rotated = (await client.post(f"{at}/rotate-secret", json={})).json()
    assert rotated["secret"] != hook["secret"]
    assert "secret" not in (await client.get(at)).json()
    await request(client)
    wait_until(lambda: len(receiver.received) == 1)
    for secret in (hook["secret"], rotated["secret"]):
        Webhook(secret).verify(receiver.received[0].body, receiver.received[0].headers)
    again = (await client.post(f"{at}/rotate-secret", json={"previous_signs_hours": 0})).json()
    await request(client, "scan-2")
    wait_until(lambda: len(receiver.received) == 2)
    last = receiver.received[1]
    Webhook(again["secret"]).verify(last.body, last.headers)
    for secret in (hook["secret"], rotated["secret"]):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(last.body, last.headers)
    stored = world.run("SELECT to_jsonb(w)::text FROM webhook_endpoints w")
    for made in (hook, rotated, again):
        plain = base64.b64decode(made["secret"].removeprefix("whsec_"))
        assert made["secret"].removeprefix("whsec_") not in stored
        assert plain.hex() not in stored


async def test_the_relay_itself_delivers_and_its_other_duties_go_on(
    client: httpx.AsyncClient,
    world: World,
    receiver: Receiver,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In this process: the courier begins with the relay, is woken by the notification, and ends with it."""
    monkeypatch.setattr(service, "SECONDS_TO_END", 30.0)  # this process goes on: nothing may be left open
    world.ready_model()
    await make(client, receiver.url, "request.queued")
    relay = Relay(Settings(**settings.model_dump() | {"sweep_seconds": 3600}))
    sweep, begun, over = relay.sweep, threading.Event(), threading.Event()

    def sweep_once() -> None:
        sweep()
        begun.set()

    def notified(seconds: float) -> bool:
        heard = type(relay)._notified(relay, 0.1)
        if over.is_set():
            raise InterruptedError
        return heard

    relay.sweep, relay._notified = sweep_once, notified  # type: ignore[method-assign]
    failures: list[BaseException] = []

    def run() -> None:
        try:
            relay.run()
        except InterruptedError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert begun.wait(60)
        await request(client)
        wait_until(lambda: len(receiver.received) == 1)
    finally:
        over.set()
        thread.join(30)
    assert len(failures) == 1


async def test_every_duty_of_the_relay_is_done_as_its_own_role_and_a_deleted_endpoint_goes(
    client: httpx.AsyncClient,
    world: World,
    receiver: Receiver,
    courier: Courier,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A duty that the database refuses fails alone, and only its log says so."""
    world.ready_model()
    hook = await make(client, receiver.url)
    made = await request(client)
    world.claim(made["job"])
    world.publish(made["job"])
    wait_until(lambda: len(receiver.received) == 5)
    wait_until(lambda: {row.status for row in deliveries(world)} == {"delivered"})
    assert (await client.delete(f"/v1/webhooks/{hook['id']}")).status_code == 204

    relay = Relay(settings)
    for duties in (relay.sweep, relay.record, relay.dispose, relay.dispose):
        duties()
    relay.engine.dispose()
    assert not world.rows("SELECT * FROM webhook_deliveries")
    assert not world.rows("SELECT * FROM webhook_endpoints")
    told = capsys.readouterr()
    assert "step_" not in told.out + told.err


async def test_a_new_key_is_announced_with_what_it_may_and_who_made_it(
    client: httpx.AsyncClient, world: World, receiver: Receiver, courier: Courier
) -> None:
    """So that others can revoke it before it approves of what its maker asked for."""
    await make(client, receiver.url, "api_key.created")
    sent = {"name": "officer Jane Doe", "scopes": ["admin"]}
    made = (await client.post("/v1/api-keys", json=sent)).json()
    maker = (await client.get("/v1/api-keys")).json()["data"][1]["id"]
    rotated = (await client.post(f"/v1/api-keys/{made['id']}/rotate", json={})).json()
    by_operator = world.key("acme", "models:read")
    wait_until(lambda: len(receiver.received) == 3)
    told = {one["data"].pop("subject"): one["data"] for one in map(_json, receiver.received)}
    assert told.pop(made["id"]).items() >= {"scopes": ["admin"], "made_by": maker}.items()
    successor = told.pop(rotated["id"])
    assert (successor["made_by"], successor["rotated_from"]) == (maker, made["id"])
    [last] = told.values()
    assert (last["scopes"], "made_by" in last) == (["models:read"], False)
    everything = b"".join(one.body for one in receiver.received)
    for secret in ("Jane", made["key"], rotated["key"], by_operator):
        assert secret.encode() not in everything


def _json(one: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(one.body)
    return told
