"""Requests on a data set reach models that become ready after they came in."""

import uuid

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.core.hashing import hash_instances
from app.core.settings import Settings
from app.relay.adoption import adopt_requests
from app.relay.fan_out import fan_out
from models import DeletionRequest, RegisteredModel, Tenant, time_ordered_id
from tests.worker.world import World


@pytest.fixture
def first(world: World) -> RegisteredModel:
    model = world.ready_model(world.tenant())
    index(world, model, ["p0", "p1"])
    return model


def index(world: World, model: RegisteredModel, names: list[str], key: str = "k1") -> None:
    """As validation leaves the model's data set."""
    with world.engine.begin() as connection:
        connection.execute(
            text("UPDATE datasets SET hash_key_id = :key WHERE id = :d"), {"key": key, "d": model.dataset_id}
        )
        for row, digest in enumerate(hash_instances(names, model.tenant_id, world.settings)):
            connection.execute(
                text("INSERT INTO dataset_instances VALUES (:d, :hash, :tenant, :row, 3)"),
                {"d": model.dataset_id, "hash": digest, "tenant": model.tenant_id, "row": row},
            )


@pytest.fixture
def child(world: World, first: RegisteredModel) -> DeletionRequest:
    """Of a request on the data set, before any other model was ready."""
    world.execute("UPDATE registered_models SET fanned_out_at = now()")
    return world.deletion(first, None, instances=["p0", "p1"])


def parent_of(world: World, child: DeletionRequest, **values: object) -> uuid.UUID:
    parent = time_ordered_id()
    world.execute(
        "INSERT INTO deletion_requests (id, tenant_id, dataset_id, tasks, scope, method, instance_count,"
        " hash_key_id, reference, due_at, acknowledge_by, acknowledged_at, extension)"
        " SELECT :id, tenant_id, dataset_id, CAST(:tasks AS text[]), :scope, 'interference_aware', 2, 'k1',"
        " 'case 7', now() + interval '30 days', now() + interval '9 days', now(), '{\"reason\": \"more\"}'"
        " FROM deletion_requests WHERE id = :child",
        **{"id": parent, "child": child.id, "tasks": ["colour", "size"], "scope": "full"} | values,
    )
    world.execute("UPDATE deletion_requests SET parent_id = :p WHERE id = :c", p=parent, c=child.id)
    return parent


def another(world: World, first: RegisteredModel) -> RegisteredModel:
    """Ready, on the same data set."""
    with world.change() as session:
        tenant = session.get_one(Tenant, first.tenant_id)
    made = world.ready_model(tenant)
    world.execute("UPDATE registered_models SET dataset_id = :d WHERE id = :m", d=first.dataset_id, m=made.id)
    return made


def test_a_model_that_becomes_ready_while_it_runs_gets_a_child(
    world: World,
    sessions: sessionmaker[Session],
    settings: Settings,
    first: RegisteredModel,
    child: DeletionRequest,
) -> None:
    parent = parent_of(world, child)
    assert fan_out(sessions, settings) == 0
    late = another(world, first)
    world.execute("UPDATE deletion_requests SET bundled_at = now() WHERE id = :p", p=parent)
    assert fan_out(sessions, settings) == 1
    assert fan_out(sessions, settings) == 0
    [made] = world.rows(
        "SELECT c.id, c.tasks, c.scope, c.method, c.reference, c.status,"
        " (c.due_at, c.acknowledge_by, c.acknowledged_at, c.extension) IS NOT DISTINCT FROM"
        " (p.due_at, p.acknowledge_by, p.acknowledged_at, p.extension) AS same_dates, p.bundled_at"
        " FROM deletion_requests c JOIN deletion_requests p ON p.id = c.parent_id"
        " WHERE c.parent_id = :p AND c.registered_model_id = :m",
        p=parent,
        m=late.id,
    )
    what = (["colour", "size"], "full", "retrain", "case 7", "queued")
    assert made[1:] == (*what, True, None), "what was stated of its parts no longer holds"
    hashes = "SELECT instance_hash FROM deletion_request_items WHERE deletion_request_id = :id ORDER BY 1"
    assert world.rows(hashes, id=made.id) == world.rows(hashes, id=child.id) != []
    assert adopt_requests(sessions) == 2
    assert world.request(made.id).job_id is not None
    assert world.value("SELECT fanned_out_at FROM registered_models WHERE id = :m", m=late.id) is None


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("UPDATE deletion_requests SET status = 'cancelled', finished_at = now() WHERE status = 'queued'", 0),
        (
            "UPDATE deletion_requests SET status = 'failed', finished_at = now() - interval '1 day'"
            " WHERE status = 'queued'",
            0,
        ),
        ("UPDATE deletion_requests SET status = 'failed', finished_at = now() WHERE status = 'queued'", 1),
    ],
    ids=["taken back", "over before the model was registered", "over while it was being validated"],
)
def test_only_what_was_not_over_when_the_model_was_registered(
    world: World,
    sessions: sessionmaker[Session],
    settings: Settings,
    first: RegisteredModel,
    child: DeletionRequest,
    before: str,
    expected: int,
) -> None:
    parent_of(world, child)
    late = another(world, first)
    world.execute(
        "UPDATE registered_models SET created_at = now() - interval '1 hour' WHERE id = :m", m=late.id
    )
    world.execute(before)
    assert fan_out(sessions, settings) == expected


def test_a_model_on_another_snapshot_gets_a_child_for_what_its_snapshot_has(
    world: World,
    sessions: sessionmaker[Session],
    settings: Settings,
    first: RegisteredModel,
    child: DeletionRequest,
) -> None:
    parent = parent_of(world, child)
    with world.change() as session:
        tenant = session.get_one(Tenant, first.tenant_id)
    newer, empty, other, amid = (world.ready_model(tenant) for _ in range(4))
    for model, names in ((newer, ["p1", "p9"]), (empty, ["p9"]), (other, ["p0", "p1"]), (amid, ["p0"])):
        index(world, model, names, "k0" if model is amid else "k1")
    refreshes = "UPDATE datasets SET refreshes_id = :old WHERE id = ANY(:new)"
    world.execute(refreshes, old=first.dataset_id, new=[each.dataset_id for each in (newer, empty, amid)])
    world.execute(
        "UPDATE registered_models SET created_at = created_at - interval '1 hour' WHERE id <> :f", f=first.id
    )
    assert fan_out(sessions, settings) == 1
    [made] = world.rows(
        "SELECT id, instance_count, dataset_id, registered_model_id FROM deletion_requests"
        " WHERE parent_id = :p AND id <> :c",
        p=parent,
        c=child.id,
    )
    assert made[1:] == (1, newer.dataset_id, newer.id)
    items = "SELECT instance_hash FROM deletion_request_items WHERE deletion_request_id = :id"
    assert [bytes(row[0]) for row in world.rows(items, id=made.id)] == hash_instances(
        ["p1"], tenant.id, world.settings
    )
    assert len(world.rows(items, id=parent)) == 2, "so that another gets all of them"
    looked_at = "SELECT id FROM registered_models WHERE fanned_out_at IS NOT NULL ORDER BY id"
    done = {row[0] for row in world.rows(looked_at)}
    assert {newer.id, empty.id, other.id} <= done
    assert amid.id not in done, "its keys are being rotated: it is looked at again"
    world.execute("UPDATE datasets SET hash_key_id = 'k1'")
    assert fan_out(sessions, settings) == 1


def test_a_task_that_the_model_has_not_is_none_of_its_business(
    world: World,
    sessions: sessionmaker[Session],
    settings: Settings,
    first: RegisteredModel,
    child: DeletionRequest,
) -> None:
    parent_of(world, child, tasks=["age"], scope="partial")
    late = another(world, first)
    world.execute(
        "UPDATE registered_models SET created_at = now() - interval '1 hour' WHERE id = :m", m=late.id
    )
    assert fan_out(sessions, settings) == 0
    assert world.value("SELECT fanned_out_at FROM registered_models WHERE id = :m", m=late.id) is not None


def test_a_late_model_does_not_get_round_the_word_that_is_missing(
    world: World,
    sessions: sessionmaker[Session],
    settings: Settings,
    first: RegisteredModel,
    child: DeletionRequest,
) -> None:
    parent_of(world, child)
    world.execute(
        "UPDATE deletion_requests SET status = 'failed', error_code = 'request_rejected', finished_at = now()"
        " WHERE id = :id",
        id=child.id,
    )
    late = another(world, first)
    world.execute(
        "UPDATE registered_models SET created_at = now() - interval '1 hour' WHERE id = :m", m=late.id
    )
    assert fan_out(sessions, settings) == 1
    assert adopt_requests(sessions) == 0
    waits = (
        "SELECT status, approval #>> '{reasons,0,code}' FROM deletion_requests WHERE registered_model_id = :m"
    )
    assert world.rows(waits, m=late.id) == [("awaiting_approval", "part_of_waiting")]
    assert world.value("SELECT count(*) FROM events WHERE type = 'request.awaiting_approval'") == 1
