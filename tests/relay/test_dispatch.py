"""Wake-ups reach the broker, once the broker is there, and again when they came to nothing."""

import json
from base64 import b64decode

import pytest
from celery import Celery
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.queue import QUEUE, WAKE
from app.core.settings import Settings
from app.relay.dispatch import Dispatcher, sending_client
from tests.worker.world import World


def woken(broker: Celery) -> list[str]:
    """The job ids in the broker's queue, oldest first."""
    with broker.connection_for_write() as connection:
        messages = [json.loads(raw) for raw in connection.default_channel.client.lrange(QUEUE, 0, -1)]
    assert all(message["headers"]["task"] == WAKE for message in messages)
    return [json.loads(b64decode(message["body"]))[0][0] for message in reversed(messages)]


@pytest.fixture
def dispatcher(sessions: sessionmaker[Session], broker: Celery) -> Dispatcher:
    return Dispatcher(sessions, broker, patience=30)


def test_the_outbox_is_sent_once(world: World, dispatcher: Dispatcher, broker: Celery) -> None:
    jobs = [world.open_job(world.ready_model(world.tenant(name))) for name in ("one", "two")]
    assert dispatcher.send_outbox()
    assert dispatcher.send_outbox()
    assert woken(broker) == [str(job.id) for job in jobs]
    assert world.value("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 0
    assert world.value("SELECT count(*) FROM jobs WHERE dispatched_at IS NULL") == 0


def test_what_another_relay_is_sending_is_left_to_it(
    world: World, dispatcher: Dispatcher, broker: Celery, sessions: sessionmaker[Session]
) -> None:
    world.open_job(world.ready_model(world.tenant()))
    with sessions.begin() as other:
        other.execute(text("SELECT 1 FROM outbox FOR UPDATE"))
        assert dispatcher.send_outbox()
        assert woken(broker) == []


def test_while_the_broker_is_away_messages_are_kept(
    world: World, sessions: sessionmaker[Session], settings: Settings, broker: Celery
) -> None:
    world.open_job(world.ready_model(world.tenant()))
    nobody = sending_client(settings)
    away = Dispatcher(sessions, nobody, patience=30)
    assert not away.send_outbox()
    world.execute("UPDATE jobs SET dispatched_at = now() - interval '1 hour'")
    assert world.rows("SELECT failures, sent_at FROM outbox") == [(1, None)]
    assert Dispatcher(sessions, broker, patience=30).send_outbox()
    assert len(woken(broker)) == 1
    nobody.close()


def test_a_flushed_broker_loses_nothing(world: World, dispatcher: Dispatcher, broker: Celery) -> None:
    job = world.open_job(world.ready_model(world.tenant()))
    dispatcher.send_outbox()
    with broker.connection_for_write() as connection:
        connection.default_channel.client.flushall()
    assert dispatcher.send_forgotten()
    assert woken(broker) == []  # it was sent a moment ago
    world.execute("UPDATE jobs SET dispatched_at = now() - interval '1 minute'")
    assert dispatcher.send_forgotten()
    assert dispatcher.send_forgotten()
    assert woken(broker) == [str(job.id)]


def test_while_messages_wait_for_busy_workers_no_more_are_sent(
    world: World, dispatcher: Dispatcher, broker: Celery
) -> None:
    world.open_job(world.ready_model(world.tenant()))
    dispatcher.send_outbox()
    world.execute("UPDATE jobs SET dispatched_at = now() - interval '1 minute'")
    assert dispatcher.send_forgotten()
    assert len(woken(broker)) == 1


def test_a_job_whose_back_off_has_passed_is_woken_at_once(
    world: World, dispatcher: Dispatcher, broker: Celery
) -> None:
    job = world.open_job(world.ready_model(world.tenant()))
    world.execute("DELETE FROM outbox")
    world.execute(
        "UPDATE jobs SET dispatched_at = now() - interval '3 seconds', not_before = now() + interval '1 h'"
    )
    dispatcher.send_forgotten()
    assert woken(broker) == []
    world.execute("UPDATE jobs SET not_before = now() - interval '1 second'")
    dispatcher.send_forgotten()
    assert woken(broker) == [str(job.id)]


def test_a_job_behind_another_is_not_woken(world: World, dispatcher: Dispatcher, broker: Celery) -> None:
    model = world.ready_model(world.tenant())
    first, _ = world.open_job(model), world.open_job(model)
    world.execute("DELETE FROM outbox")
    world.execute("UPDATE jobs SET status = 'running', lease_expires_at = now() WHERE id = :id", id=first.id)
    dispatcher.send_forgotten()
    assert woken(broker) == []
