"""What requests take, counted by the database and, slowly and obviously, by hand."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from app.core.instances import NamedInstances
from app.core.sight import Sight, give_sight
from app.deletion_requests import supervision
from app.deletion_requests.taking import Taken, taken
from models import time_ordered_id
from tests.app.world import World
from tests.database import Database

TASKS = ("digit", "parity", "stroke")
NAMES = [f"scan-{n}" for n in range(12)]
NOW = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Asked:
    """A request, and what it names."""

    id: uuid.UUID
    days_ago: int
    status: str
    tasks: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def at(self) -> datetime:
        return NOW - timedelta(days=self.days_ago)


@dataclass(frozen=True)
class History:
    model_id: uuid.UUID
    dataset_id: uuid.UUID
    requests: list[Asked]
    supervised: dict[str, set[str]]
    ledger: dict[tuple[str, str], datetime]


@pytest.fixture
def app_engine(database: Database) -> Iterator[Engine]:
    engine = create_engine(database.app_url)
    yield engine
    engine.dispose()


def history(world: World, seed: int) -> History:
    """A model, on its second snapshot when the seed is odd; five requests, and what became of them."""
    draw = random.Random(seed)
    suffix = str(seed)
    lacks = {name: [task for task in TASKS if draw.random() < 0.2] for name in NAMES}
    here = NAMES[: 9 if seed % 2 else len(NAMES)]
    dataset_id = world.ready_dataset("acme", f"scans-{suffix}", here, tasks=TASKS, without=lacks)
    model_id = world.ready_model("acme", f"reader-{suffix}", f"scans-{suffix}", tasks=TASKS)
    if seed % 2:
        former = world.ready_dataset("acme", f"former-{suffix}", NAMES, tasks=TASKS, without=lacks)
        world.run(
            "INSERT INTO former_datasets (registered_model_id, dataset_id, tenant_id, left_at)"
            " VALUES (:m, :d, :t, now())",
            m=model_id,
            d=former,
            t=world.tenant(),
        )
    supervised = {name: set(TASKS) - set(lacks[name]) for name in NAMES}
    requests = [asked(world, model_id, dataset_id, draw) for _ in range(5)]
    ledger: dict[tuple[str, str], datetime] = {}
    for request in requests:
        if request.status == "succeeded":
            for name in request.names:
                for task in request.tasks:
                    ledger.setdefault((name, task), request.at)
                    keep(world, model_id, request, name, task, stands=draw.random() < 0.8, ledger=ledger)
    return History(model_id, dataset_id, requests, supervised, ledger)


def asked(world: World, model_id: uuid.UUID, dataset_id: uuid.UUID, draw: random.Random) -> Asked:
    status = draw.choice(["succeeded", "succeeded", "queued", "running", "failed", "awaiting_approval"])
    tasks = tuple(draw.sample(TASKS, draw.randint(1, 3)))
    names = tuple(draw.sample(NAMES, draw.randint(1, 6)))
    made = Asked(time_ordered_id(), draw.choice([1, 10, 40, 100]), status, tasks, names)
    world.run(
        "INSERT INTO deletion_requests (id, tenant_id, dataset_id, registered_model_id, tasks, scope, method,"
        " instance_count, hash_key_id, status, created_at, approval) VALUES (:id, :t, :d, :m, :tasks,"
        " 'partial', 'interference_aware', :count, 'k1', :status, :at,"
        " CASE WHEN :status = 'awaiting_approval' THEN CAST('{\"reasons\": []}' AS jsonb) END)",
        id=made.id,
        t=world.tenant(),
        d=dataset_id,
        m=model_id,
        tasks=list(tasks),
        count=len(names),
        status=status,
        at=made.at,
    )
    for digest in world.hashes("acme", names):
        world.run(
            "INSERT INTO deletion_request_items (deletion_request_id, instance_hash, tenant_id)"
            " VALUES (:r, :h, :t)",
            r=made.id,
            h=digest,
            t=world.tenant(),
        )
    return made


def keep(
    world: World,
    model_id: uuid.UUID,
    request: Asked,
    name: str,
    task: str,
    *,
    stands: bool,
    ledger: dict[tuple[str, str], datetime],
) -> None:
    made = world.run(
        "INSERT INTO forgotten_supervision (registered_model_id, instance_hash, task, tenant_id,"
        " deletion_request_id, version_id, hash_key_id) VALUES (:m, :h, :task, :t, :r,"
        " CASE WHEN :stands THEN (SELECT head_version_id FROM registered_models WHERE id = :m) END, 'k1')"
        " ON CONFLICT DO NOTHING RETURNING version_id IS NOT NULL",
        m=model_id,
        h=world.hashes("acme", [name])[0],
        task=task,
        t=world.tenant(),
        r=request.id,
        stands=stands,
    )
    if made is False:
        del ledger[name, task]


def by_hand(history: History, task: str, since: datetime, named: list[tuple[str, set[str]]]) -> Taken:
    """As the docstring of `shares` says it."""
    earlier = {name: False for name, tasks in named if task in tasks}
    for request in history.requests:
        if task not in request.tasks or request.status in ("failed", "awaiting_approval"):
            continue
        if request.at > since or request.status != "succeeded":
            for name in request.names:
                earlier[name] = earlier.get(name, False) or request.at <= since
    goes = settled = promised = 0
    for name, was_promised in earlier.items():
        if task in history.supervised[name]:
            forgotten = history.ledger.get((name, task))
            lately = forgotten is not None and forgotten > since
            goes += not was_promised and (forgotten is None or lately)
            settled += not was_promised and lately
            promised += was_promised and forgotten is None
    return Taken(goes, settled, promised)


@pytest.mark.parametrize("seed", range(12))
def test_all_tasks_and_both_times_at_once_are_counted_as_one_by_one(
    world: World, app_engine: Engine, seed: int
) -> None:
    known = history(world, seed)
    draw = random.Random(100 + seed)
    tasks = sorted(draw.sample(TASKS, draw.randint(1, 3)))
    bits = [1 << TASKS.index(task) for task in tasks]
    since = (NOW - timedelta(days=60), NOW - timedelta(days=20))
    names = draw.sample(NAMES, 5)
    waiting = [request for request in known.requests if request.status in ("failed", "awaiting_approval")]
    sent = NamedInstances(b"".join(world.hashes("acme", names)), len(names), names)
    recorded = [(name, set(request.tasks)) for request in waiting for name in request.names]
    with Session(app_engine) as session:
        give_sight(session, Sight(world.tenant()))
        subject = {"model_id": known.model_id, "dataset_id": known.dataset_id, "tasks": tasks, "bits": bits}
        of_sent = taken(session, **subject, named=sent, since=since)
        of_recorded = taken(session, **subject, named=[request.id for request in waiting], since=since)
    of_all = [(name, set(tasks)) for name in names]
    for found, named in ((of_sent, of_all), (of_recorded, union(recorded))):
        expected = [tuple(by_hand(known, task, each, named) for each in since) for task in tasks]
        assert found == expected


def union(named: list[tuple[str, set[str]]]) -> list[tuple[str, set[str]]]:
    together: dict[str, set[str]] = {}
    for name, tasks in named:
        together.setdefault(name, set()).update(tasks)
    return list(together.items())


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("guarantee", ["empirical", "exact"])
async def test_many_are_counted_as_few_are(
    client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch, seed: int, guarantee: str
) -> None:
    known = history(world, seed)
    names = random.Random(200 + seed).sample(NAMES, 4)
    world.run("DELETE FROM deletion_requests WHERE status NOT IN ('succeeded', 'failed')")
    sent = {"model": f"reader-{seed}", "instances": names, "tasks": "all", "guarantee": guarantee}
    told = []
    for few in (2_000, 0):
        monkeypatch.setattr(supervision, "FEW", few)
        answer = await client.post("/v1/deletion-requests?dry_run=true", json=sent)
        assert answer.status_code == 200, answer.text
        told.append(answer.json()["models"][0])
    assert told[0] == told[1]
    here = names if seed % 2 == 0 else [name for name in names if name in NAMES[:9]]
    for each in told[0]["per_task"]:
        has = [name for name in here if each["task"] in known.supervised[name]]
        assert each["forgets"] == sum((name, each["task"]) not in known.ledger for name in has)
