"""What takes more than may go without a person's word waits for one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.admin import set_quota
from app.core.database import relay_url, sync_engine
from app.core.settings import Settings
from app.relay.adoption import adopt_requests
from app.relay.unanswered import expire_approvals
from tests.app.conftest import calling
from tests.app.world import World

pytestmark = pytest.mark.anyio

URL = "/v1/deletion-requests"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Half of a task's supervision between two words, a quarter in thirty days: of twenty, ten and five."""
    return settings.model_copy(update={"approval_share": 0.5, "approval_window_share": 0.25})


@pytest.fixture
async def another(app: FastAPI, world: World) -> AsyncIterator[httpx.AsyncClient]:
    """An administrator who did not ask for it."""
    async with calling(app, world.key("acme", "admin")) as client:
        yield client


@pytest.fixture
def relay(settings: Settings) -> Iterator[sessionmaker[Session]]:
    engine = sync_engine(settings, relay_url(settings), "lethe-relay")
    yield sessionmaker(engine)
    engine.dispose()


def asking(*numbers: int, **changes: object) -> dict[str, object]:
    return {"model": "reader", "instances": [f"scan-{n}" for n in numbers], "tasks": "all"} | changes


async def test_it_is_accepted_and_waits_until_an_administrator_says_so(
    app: FastAPI,
    client: httpx.AsyncClient,
    another: httpx.AsyncClient,
    world: World,
    relay: sessionmaker[Session],
) -> None:
    world.ready_model()
    sent = asking(*range(6), regulation="gdpr")
    [told] = (await client.post(f"{URL}?dry_run=true", json=sent)).json()["models"]
    assert told["per_task"][0] == {"task": "digit", "forgets": 6, "share": 0.3, "window_share": 0.3}
    assert [(reason["code"], reason["task"]) for reason in told["needs_approval"]] == [
        ("window_share", "digit"),
        ("window_share", "parity"),
    ]
    assert world.run("SELECT count(*) FROM deletion_requests") == 0

    answer = await client.post(URL, json=sent, headers={"Idempotency-Key": "k"})
    made = answer.json()
    assert (answer.status_code, made["status"], made["job"]) == (202, "awaiting_approval", None)
    assert made["due_at"] is not None
    assert made["approval"]["reasons"] == told["needs_approval"]
    again = await client.post(URL, json=sent, headers={"Idempotency-Key": "k"})
    assert again.json() == made
    assert adopt_requests(relay) == 0
    assert world.run("SELECT count(*) FROM jobs") == 0
    early = await client.get(f"{URL}/{made['id']}/certificate")
    assert (early.status_code, early.json()["status_now"]) == (409, "awaiting_approval")

    async with calling(app, world.key("acme", "requests:write", "requests:read")) as clerk:
        refused = await clerk.post(f"{URL}/{made['id']}/approve", json={"reason": "so"})
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    own = await client.post(f"{URL}/{made['id']}/approve", json={"reason": "I say so"})
    assert (own.status_code, own.json()["code"]) == (403, "own_request")
    approved = await another.post(f"{URL}/{made['id']}/approve", json={"reason": "the school has left"})
    assert approved.status_code == 200, approved.text
    shown = approved.json()
    assert shown["status"] == "queued"
    assert shown["approval"]["decision"] == "approved"
    assert shown["approval"]["reason"] == "the school has left"
    assert adopt_requests(relay) == 1
    shown = (await client.get(f"{URL}/{made['id']}")).json()
    assert [step["status"] for step in shown["transitions"]] == ["awaiting_approval", "queued"]
    assert shown["job"] is not None
    twice = await client.post(f"{URL}/{made['id']}/approve", json={"reason": "again"})
    assert (twice.status_code, twice.json()["code"]) == (409, "request_not_awaiting_approval")
    [(actor, data)] = world.rows(
        "SELECT actor, data FROM audit_log WHERE action = 'deletion_request.approve'"
    )
    assert actor.startswith("key:")
    assert data["reason"] == "the school has left"
    assert world.run("SELECT count(*) FROM events WHERE type = 'approval.granted'") == 1

    # The word begins the count anew, from what is left: fourteen, of which three may go.
    [told] = (await client.post(f"{URL}?dry_run=true", json=asking(6, 7, 8, 9))).json()["models"]
    assert {reason["share"] for reason in told["needs_approval"]} == {round(4 / 14, 4)}
    assert (await client.post(URL, json=asking(6, 7, 8))).json()["status"] == "queued"
    assert (await client.post(URL, json=asking(9))).json()["status"] == "awaiting_approval"


async def test_what_was_named_before_does_not_count_twice(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    first = (await client.post(URL, json=asking(0, 1, 2, 3))).json()
    for again in (asking(0, 1, 2, 3), asking(3, 2, 1, tasks=["digit"]), asking(0, 4)):
        assert (await client.post(URL, json=again)).json()["status"] == "queued"
    world.claim(first["job"])
    world.publish(first["job"])
    # Months later these five are no part of the window any more, and they are forgotten already.
    world.run("UPDATE deletion_requests SET created_at = now() - interval '90 days'")
    assert (await client.post(URL, json=asking(0, 1, 5, 6, 7))).json()["status"] == "queued"
    last = (await client.post(URL, json=asking(8))).json()
    assert [reason["code"] for reason in last["approval"]["reasons"]] == ["window_share"] * 2
    assert last["approval"]["reasons"][0]["share"] == pytest.approx(4 / 15, abs=0.001)


async def test_what_is_only_retrained_without_takes_nothing_more(
    client: httpx.AsyncClient, another: httpx.AsyncClient, world: World, relay: sessionmaker[Session]
) -> None:
    world.ready_model()
    made = (await client.post(URL, json=asking(*range(6)))).json()["id"]
    assert (await another.post(f"{URL}/{made}/approve", json={"reason": "so"})).status_code == 200
    assert adopt_requests(relay) == 1
    job = (await client.get(f"{URL}/{made}")).json()["job"]
    world.claim(job)
    world.publish(job)
    world.run("ALTER TABLE model_versions DISABLE TRIGGER USER")
    world.run("UPDATE model_versions SET empirical_steps = 1 WHERE number = 2")
    again = (await client.post(URL, json=asking(*range(6), guarantee="exact"))).json()
    assert (again["status"], again["already_forgotten"]) == ("queued", 0)


async def test_two_at_once_cannot_take_together_what_neither_may_alone(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    numbers = [(4 * k, 4 * k + 1, 4 * k + 2) for k in range(4)]
    answers = await asyncio.gather(*(client.post(URL, json=asking(*each)) for each in numbers))
    statuses = sorted(answer.json()["status"] for answer in answers)
    assert statuses == ["awaiting_approval"] * 3 + ["queued"]


async def test_taken_back_rejected_and_retried(
    client: httpx.AsyncClient, world: World, relay: sessionmaker[Session]
) -> None:
    world.ready_model()
    withdrawn = (await client.post(URL, json=asking(*range(6)))).json()["id"]
    assert (await client.post(f"{URL}/{withdrawn}/cancel")).json()["status"] == "cancelled"
    late = await client.post(f"{URL}/{withdrawn}/approve", json={"reason": "too late"})
    assert (late.status_code, late.json()["status_now"]) == (409, "cancelled")

    rejected = (await client.post(URL, json=asking(*range(6)))).json()["id"]
    shown = (await client.post(f"{URL}/{rejected}/reject", json={"reason": "a mistake"})).json()
    assert (shown["status"], shown["error_code"]) == ("failed", "request_rejected")
    # A retry is no way round: it waits again, and what was decided before is in the log.
    shown = (await client.post(f"{URL}/{rejected}/retry")).json()
    assert (shown["status"], shown["approval"]["decision"]) == ("awaiting_approval", None)
    assert adopt_requests(relay) == 0
    assert world.run("SELECT count(*) FROM audit_log WHERE action = 'deletion_request.reject'") == 1


async def test_what_failed_is_looked_at_again_when_it_is_retried(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    failed = (await client.post(URL, json=asking(0, 1, 2))).json()
    world.claim(failed["job"])
    world.run("UPDATE deletion_requests SET error_code = 'worker_error', error_detail = 'so'")
    world.move_requests(failed["job"], "failed")
    world.finish(failed["job"], "failed")
    assert (await client.post(URL, json=asking(3, 4, 5))).json()["status"] == "queued"
    together = await client.post(f"/v1/jobs/{failed['job']}/retry")
    assert (together.status_code, together.json()["code"]) == (409, "approval_needed")
    alone = (await client.post(f"{URL}/{failed['id']}/retry")).json()
    assert (alone["status"], alone["job"]) == ("awaiting_approval", None)


async def test_of_a_request_on_a_data_set_only_what_takes_too_much_waits(
    client: httpx.AsyncClient, another: httpx.AsyncClient, world: World
) -> None:
    world.ready_dataset(without={f"scan-{n}": ("parity",) for n in range(5, 20)})
    world.ready_model(name="both")
    world.ready_model(name="digits", tasks=("digit",))
    sent = asking(0, 1, model=None, dataset="scans")
    made = (await client.post(URL, json={k: v for k, v in sent.items() if v is not None})).json()
    assert made["status"] == "awaiting_approval"  # two of five parities, and two of twenty digits
    statuses = {}
    for child in made["children"]:
        shown = (await client.get(f"{URL}/{child}")).json()
        statuses[shown["model"]] = shown["status"]
    assert statuses == {"both": "awaiting_approval", "digits": "queued"}
    shown = (await client.get(f"{URL}/{made['id']}")).json()
    assert shown["status"] == "awaiting_approval"
    assert [reason["task"] for reason in shown["approval"]["reasons"]] == ["parity"]
    approved = (await another.post(f"{URL}/{made['id']}/approve", json={"reason": "so"})).json()
    assert (approved["status"], approved["approval"]["decision"]) == ("queued", "approved")


async def test_a_tenant_has_so_many_instances_a_day(client: httpx.AsyncClient, world: World) -> None:
    world.ready_dataset(instances=100)
    world.ready_model()
    with Session(world.engine) as session, session.begin():
        set_quota(session, "acme", 12)
    assert (await client.post(URL, json=asking(*range(10)))).json()["status"] == "queued"
    waits = (await client.post(URL, json=asking(10, 11, 12))).json()
    assert [reason["code"] for reason in waits["approval"]["reasons"]] == ["instances_per_day"]
    assert (await client.post(URL, json=asking(20, 21))).json()["status"] == "queued"
    assert (await client.post(URL, json=asking(22))).json()["status"] == "awaiting_approval"


async def test_a_rotated_key_is_the_same_hand(client: httpx.AsyncClient, app: FastAPI, world: World) -> None:
    world.ready_model()
    made = (await client.post(URL, json=asking(*range(6)))).json()
    keys = (await client.get("/v1/api-keys")).json()["data"]
    rotated = await client.post(f"/v1/api-keys/{keys[0]['id']}/rotate", json={"overlap_hours": 1})
    async with calling(app, rotated.json()["key"]) as successor:
        refused = await successor.post(f"{URL}/{made['id']}/approve", json={"reason": "me again"})
        assert (refused.status_code, refused.json()["code"]) == (403, "own_request")
        asked = (await successor.post(URL, json=asking(*range(6, 12)))).json()
    refused = await client.post(f"{URL}/{asked['id']}/approve", json={"reason": "me before"})
    assert (refused.status_code, refused.json()["code"]) == (403, "own_request")


async def _may_approve(client: httpx.AsyncClient, request_id: str) -> bool:
    answer = await client.post(f"{URL}/{request_id}/approve", json={"reason": "so"})
    assert (answer.status_code, answer.json().get("code")) in ((200, None), (403, "own_request"))
    return answer.status_code == 200


def _a_day_goes_by(world: World) -> None:
    """For every key there is."""
    world.run("UPDATE api_keys SET created_at = created_at - interval '25 hours'")


async def _key_of(client: httpx.AsyncClient, *scopes: str) -> dict[str, str]:
    made = await client.post("/v1/api-keys", json={"name": "second", "scopes": list(scopes)})
    assert made.status_code == 201, made.text
    key: dict[str, str] = made.json()
    return key


async def test_a_key_that_the_asker_made_is_the_same_hand_while_it_is_new(
    client: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    world.ready_model()
    asked = (await client.post(URL, json=asking(*range(6)))).json()["id"]
    second = await _key_of(client, "admin")
    first = (await client.get("/v1/api-keys")).json()["data"][1]
    assert (second["made_by"], first["made_by"]) == (first["id"], None)
    async with calling(app, second["key"]) as other:
        third = await _key_of(other, "admin")
        for key in (second, third):
            async with calling(app, key["key"]) as hand:
                refused = await hand.post(f"{URL}/{asked}/approve", json={"reason": "my other hand"})
            problem = refused.json()
            assert (refused.status_code, problem["code"]) == (403, "own_request")
            until = datetime.fromisoformat(problem["may_approve_from"])
            # The link of the chain that breaks first: the second key is older than the third.
            assert until == datetime.fromisoformat(second["created_at"]) + timedelta(hours=24)
            assert problem["may_approve_from"] in problem["detail"]
            assert "another administrator" in problem["detail"]
            assert "python -m app.admin approve" in problem["detail"]
        rejected = await other.post(f"{URL}/{asked}/reject", json={"reason": "may be said by any hand"})
        assert rejected.status_code == 200
        asked = (await client.post(f"{URL}/{asked}/retry")).json()["id"]
        _a_day_goes_by(world)
        assert await _may_approve(other, asked)


async def test_who_made_a_key_does_not_approve_of_what_it_asks_for_while_it_is_new(
    client: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    world.ready_model()
    made = await _key_of(client, "requests:write")
    async with calling(app, made["key"]) as program:
        asked = (await program.post(URL, json=asking(*range(6)))).json()["id"]
    assert not await _may_approve(client, asked)
    _a_day_goes_by(world)
    assert await _may_approve(client, asked)


async def test_the_key_of_another_is_the_hand_of_who_rotated_it(
    client: httpx.AsyncClient, another: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    world.ready_model()
    asked = (await client.post(URL, json=asking(*range(6)))).json()["id"]
    colleagues = (await client.get("/v1/api-keys")).json()["data"][0]["id"]
    taken = (await client.post(f"/v1/api-keys/{colleagues}/rotate", json={})).json()
    async with calling(app, taken["key"]) as successor:
        assert not await _may_approve(successor, asked)
        assert not await _may_approve(another, asked)  # nobody can tell whose it is
        _a_day_goes_by(world)
        assert await _may_approve(successor, asked)


async def test_how_long_a_key_is_new_is_the_operators_to_say(
    client: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    world.ready_model()
    asked = (await client.post(URL, json=asking(*range(6)))).json()["id"]
    second = await _key_of(client, "admin")
    world.run("UPDATE api_keys SET created_at = created_at - interval '2 hours'")
    async with calling(app, second["key"]) as hand:
        assert not await _may_approve(hand, asked)
        app.state.settings = app.state.settings.model_copy(update={"approval_key_hours": 1})
        assert await _may_approve(hand, asked)


async def test_what_nobody_decides_on_fails_in_time_and_may_be_retried(
    client: httpx.AsyncClient, world: World, relay: sessionmaker[Session]
) -> None:
    world.ready_model()
    made = (await client.post(URL, json=asking(*range(6)))).json()
    extended = (await client.post(URL, json=asking(*range(6, 12), regulation="gdpr"))).json()
    aged = "UPDATE deletion_requests SET created_at = created_at - interval '31 days'"
    world.run(aged)
    assert expire_approvals(relay, 30) == 0  # it began to wait later than it was made
    # As if the database's clock had gone on; the log of events itself refuses to be changed.
    with world.engine.begin() as connection:
        connection.execute(text("ALTER TABLE events DISABLE TRIGGER refuse_change"))
        connection.execute(text("UPDATE events SET created_at = created_at - interval '31 days'"))
        connection.execute(text("ALTER TABLE events ENABLE TRIGGER refuse_change"))
    assert expire_approvals(relay, 32) == 0
    assert expire_approvals(relay, 30) == 1
    assert (await client.get(f"{URL}/{extended['id']}")).json()["status"] == "awaiting_approval"
    assert expire_approvals(relay, 30) == 0
    world.run("UPDATE deletion_requests SET due_at = now() - interval '1 hour' WHERE due_at IS NOT NULL")
    assert expire_approvals(relay, 30) == 1
    shown = (await client.get(f"{URL}/{made['id']}")).json()
    assert (shown["status"], shown["error_code"]) == ("failed", "approval_expired")
    assert [step["status"] for step in shown["transitions"]] == ["awaiting_approval", "failed"]
    assert world.run("SELECT count(*) FROM audit_log WHERE action = 'deletion_request.failed'") == 2
    shown = (await client.post(f"{URL}/{made['id']}/retry")).json()
    assert shown["status"] == "awaiting_approval"
    assert expire_approvals(relay, 30) == 0


async def test_only_an_administrator_may_let_more_go_without_a_word(
    client: httpx.AsyncClient, app: FastAPI, world: World
) -> None:
    world.ready_dataset()
    model = {"name": "reader", "network": {"kind": "mlp", "inputs": 64, "hidden": [8]}, "dataset": "scans"}
    model |= {"tasks": [{"name": "digit", "kind": "classification", "outputs": 10}]}
    model |= {"recipe": {"learning_rate": 0.01, "epochs": 1}}
    async with calling(app, world.key("acme", "models:write", "models:read")) as clerk:
        for looser in ({"share": 0.6}, {"window_share": 0.3}, {"window_days": 7}):
            refused = await clerk.post("/v1/models", json=model | {"policy": {"approval": looser}})
            assert (refused.status_code, refused.json()["code"]) == (403, "approval_loosened"), looser
        tighter = {"share": 0.4, "window_share": 0.1, "window_days": 60}
        made = await clerk.post("/v1/models", json=model | {"policy": {"approval": tighter}})
        assert made.status_code == 201, made.text
    looser = model | {"name": "other", "policy": {"approval": {"share": 1}}}
    assert (await client.post("/v1/models", json=looser)).status_code == 201
    told = world.rows("SELECT data FROM audit_log WHERE action = 'model.create' ORDER BY id")
    assert [row.data for row in told] == [{}, {"approval_loosened": {"share": 1.0}}]


async def test_not_even_an_administrator_lets_more_go_of_a_model_that_is_there(
    client: httpx.AsyncClient, world: World
) -> None:
    model_id = world.ready_model()
    looser = {"approval": {"share": 1, "window_share": 1}}
    clock = {"quarantine_after": 7, "delete_after": 23}
    refused = await client.put("/v1/models/reader/retention", json=clock | looser)
    assert (refused.status_code, refused.json()["code"]) == (422, "validation_error")
    assert (await client.put("/v1/models/reader/retention", json=clock)).status_code == 200
    assert not world.run("SELECT policy ? 'approval' FROM registered_models WHERE id = :id", id=model_id)
    again = {"name": "reader", "network": {"kind": "mlp", "inputs": 64, "hidden": [8]}, "dataset": "scans"}
    again |= {"tasks": [{"name": "digit", "kind": "classification", "outputs": 10}]}
    again |= {"recipe": {"learning_rate": 0.01, "epochs": 1}, "policy": looser}
    taken = await client.post("/v1/models", json=again)
    assert (taken.status_code, taken.json()["code"]) == (409, "model_exists")
    assert (await client.post(URL, json=asking(*range(6)))).json()["status"] == "awaiting_approval"
