"""Alarms before and after a request's dates."""

from sqlalchemy.orm import Session, sessionmaker

from app.relay.deadlines import raise_alarms
from models import DeletionRequest
from tests.worker.world import World

DAY = 86400.0


def alarms(world: World, request: DeletionRequest) -> list[str]:
    raised = world.rows(
        "SELECT type FROM events WHERE subject_id = :id AND type LIKE 'deadline.%' ORDER BY id", id=request.id
    )
    return [type.removeprefix("deadline.") for (type,) in raised]


def move(world: World, request: DeletionRequest, due: str, acknowledge: str | None = None) -> None:
    world.execute(
        "UPDATE deletion_requests SET due_at = now() + CAST(:due AS interval),"
        " acknowledge_by = now() + CAST(:acknowledge AS interval) WHERE id = :id",
        due=due,
        acknowledge=acknowledge,
        id=request.id,
    )


def test_each_alarm_is_raised_once_before_and_after(world: World, sessions: sessionmaker[Session]) -> None:
    model = world.ready_model(world.tenant())
    _, request = world.job_with_request(model)
    _, timeless = world.job_with_request(model)
    move(world, request, due="8 days", acknowledge="3 days")
    assert raise_alarms(sessions, 7 * DAY, 2 * DAY) == 0
    move(world, request, due="6 days", acknowledge="1 day")
    assert raise_alarms(sessions, 7 * DAY, 2 * DAY) == 2
    assert raise_alarms(sessions, 7 * DAY, 2 * DAY) == 0
    move(world, request, due="-1 second", acknowledge="-1 second")
    assert raise_alarms(sessions, 7 * DAY, 2 * DAY) == 2
    assert raise_alarms(sessions, 7 * DAY, 2 * DAY) == 0
    assert alarms(world, request) == ["acknowledge_soon", "due_soon", "acknowledge_passed", "due_passed"]
    assert alarms(world, timeless) == []
    assert world.value("SELECT count(*) FROM audit_log WHERE action LIKE 'deadline.%'") == 4


def test_what_was_acknowledged_or_done_raises_no_alarm(world: World, sessions: sessionmaker[Session]) -> None:
    model = world.ready_model(world.tenant())
    _, acknowledged = world.job_with_request(model)
    _, done = world.job_with_request(model)
    move(world, acknowledged, due="30 days", acknowledge="-1 day")
    world.execute("UPDATE deletion_requests SET acknowledged_at = now() WHERE id = :id", id=acknowledged.id)
    move(world, done, due="-1 day", acknowledge="-1 day")
    world.execute("UPDATE deletion_requests SET status = 'cancelled' WHERE id = :id", id=done.id)
    assert raise_alarms(sessions, 7 * DAY, 2 * DAY) == 0


def test_a_request_on_a_data_set_raises_its_alarm_for_all_its_children(
    world: World, sessions: sessionmaker[Session]
) -> None:
    model = world.ready_model(world.tenant())
    _, child = world.job_with_request(model)
    parent = world.value("SELECT gen_random_uuid()")
    world.execute(
        "INSERT INTO deletion_requests (id, tenant_id, dataset_id, tasks, scope, method, instance_count,"
        " hash_key_id, due_at) SELECT :parent, tenant_id, dataset_id, tasks, scope, method, 1, 'k1', now()"
        " FROM deletion_requests WHERE id = :child",
        parent=parent,
        child=child.id,
    )
    world.execute(
        "UPDATE deletion_requests SET parent_id = :parent, due_at = now() WHERE id = :child",
        parent=parent,
        child=child.id,
    )
    assert raise_alarms(sessions, 7 * DAY, 2 * DAY) == 1
    assert world.value("SELECT alarms FROM deletion_requests WHERE id = :id", id=parent) == ["due_passed"]
    assert world.value("SELECT alarms FROM deletion_requests WHERE id = :id", id=child.id) == []
