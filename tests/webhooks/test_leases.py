"""Deliveries whose relay dies, or takes its time: leased, renewed, and taken up by another."""

import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event, text

from app.core.settings import Settings
from app.relay.courier import Courier
from tests.app.world import World
from tests.webhooks.receiver import Receiver, status
from tests.webhooks.test_delivery import deliveries, make, request
from tests.worker.processes import RELAY, process, wait_until

pytestmark = pytest.mark.anyio

_WAITS_FOR_A_LOCK = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name AND wait_event_type = 'Lock'"
    " AND datname = current_database()"
)


async def test_a_relay_killed_in_the_middle_of_a_delivery_delivers_it_again_after_one_lease(
    client: httpx.AsyncClient, world: World, receiver: Receiver, settings: Settings, tmp_path: Path
) -> None:
    world.ready_model()
    came, go_on = threading.Event(), threading.Event()

    def hold(handler: BaseHTTPRequestHandler, nth: int) -> None:
        if nth == 0:
            came.set()
            go_on.wait(60)
        status(204)(handler, nth)

    receiver.answer = hold
    await make(client, receiver.url, "request.queued")
    await request(client)
    patient = Settings(**settings.model_dump() | {"webhook_total_seconds": 60.0, "lease_seconds": 2.0})
    with process(RELAY, patient, tmp_path / "first.log") as relay:
        assert came.wait(60)
        relay.kill()
        relay.wait()
    go_on.set()
    assert deliveries(world)[0].status == "pending"
    assert world.run("SELECT next_attempt_at <= now() + interval '2 seconds' FROM webhook_deliveries")
    with process(RELAY, patient, tmp_path / "second.log"):
        wait_until(lambda: deliveries(world)[0].status == "delivered")
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    logged = (tmp_path / "first.log").read_text() + (tmp_path / "second.log").read_text()
    assert "whsec_" not in logged
    assert settings.webhook_key is not None
    assert settings.webhook_key.get_secret_value() not in logged


async def test_a_receiver_that_takes_longer_than_a_lease_is_told_once(
    client: httpx.AsyncClient, world: World, receiver: Receiver, settings: Settings
) -> None:
    """Another relay is there to take up what is lost; the first one shows that it is at it."""
    world.ready_model()
    go_on = threading.Event()

    def hold(handler: BaseHTTPRequestHandler, nth: int) -> None:
        go_on.wait(60)
        status(204)(handler, nth)

    receiver.answer = hold
    await make(client, receiver.url, "request.queued")
    await request(client)
    lease = 3.0
    patient = Settings(**settings.model_dump() | {"webhook_total_seconds": 60.0, "lease_seconds": lease})
    couriers = [Courier(patient), Courier(patient)]
    for courier in couriers:
        courier.start()
    try:
        wait_until(lambda: len(receiver.received) == 1)
        [taken] = deliveries(world)
        wait_until(
            lambda: (
                world.run("SELECT now() > :at FROM webhook_deliveries", at=taken.next_attempt_at)
                and world.run("SELECT next_attempt_at > now() FROM webhook_deliveries")
            )
        )
        [renewed] = deliveries(world)
        assert renewed.claim == taken.claim
        go_on.set()
        wait_until(lambda: deliveries(world)[0].status == "delivered")
        assert len(receiver.received) == 1
    finally:
        go_on.set()
        for courier in couriers:
            courier.stop(10)


async def test_a_courier_that_is_stopped_leaves_no_connection_behind(
    client: httpx.AsyncClient, world: World, receiver: Receiver, settings: Settings
) -> None:
    """In the middle of writing down what came of a delivery: a thread cannot be cancelled, and is waited
    for."""
    world.ready_model()
    go_on = threading.Event()

    def hold(handler: BaseHTTPRequestHandler, nth: int) -> None:
        go_on.wait(60)
        status(204)(handler, nth)

    receiver.answer = hold
    await make(client, receiver.url, "request.queued")
    await request(client)
    courier = Courier(Settings(**settings.model_dump() | {"webhook_total_seconds": 60.0}))
    opened: list[Any] = []
    event.listen(courier.engine, "connect", lambda connection, record: opened.append(connection))
    courier.start()
    wait_until(lambda: len(receiver.received) == 1)
    stopping = threading.Thread(target=courier.stop, args=(60,))
    with world.engine.begin() as other:
        other.execute(text("LOCK TABLE webhook_deliveries IN SHARE ROW EXCLUSIVE MODE"))
        go_on.set()
        wait_until(lambda: world.run(_WAITS_FOR_A_LOCK, name="lethe-relay-courier") > 0)
        stopping.start()
        stopping.join(1)
    stopping.join(60)
    wait_until(lambda: not any(thread.name == "beside-courier" for thread in threading.enumerate()))
    assert opened
    assert all(connection.closed for connection in opened)
    assert deliveries(world)[0].status == "delivered"
