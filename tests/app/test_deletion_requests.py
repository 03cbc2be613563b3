"""Posting a deletion request: what is recorded, what is refused, what is answered."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from tests.app.world import World, nested

pytestmark = pytest.mark.anyio


def body(**changes: object) -> dict[str, object]:
    return {"model": "reader", "instances": ["scan-1", "scan-2"], "tasks": "all"} | changes


async def test_a_request_is_recorded_and_queued(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    answer = await client.post(
        "/v1/deletion-requests",
        json=body(reference="case 7", regulation="gdpr", metadata={"desk": 4, "text": "\\u0000"}),
    )
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/deletion-requests/{made['id']}"
    assert int(answer.headers["retry-after"]) > 0
    read = await client.get(answer.headers["location"])
    assert read.status_code == 200
    shown = read.json()
    times = {"created_at", "due_at", "transitions", "descendants"}
    assert {k: v for k, v in shown.items() if k not in times} == {
        k: v for k, v in made.items() if k not in times
    }
    assert shown["status"] == "queued"
    assert (shown["scope"], shown["tasks"]) == ("full", ["digit", "parity"])
    assert shown["metadata"] == {"desk": 4, "text": "\\u0000"}
    assert [step["status"] for step in shown["transitions"]] == ["queued"]
    assert world.run("SELECT count(*) FROM deletion_request_items") == 2
    assert world.run("SELECT due_at::date = (created_at + interval '1 month')::date FROM deletion_requests")
    assert world.rows("SELECT status, accepts_requests, method FROM jobs") == [
        ("queued", True, "interference_aware")
    ]
    assert world.run("SELECT count(*) FROM outbox") == 1
    assert world.run("SELECT count(*) FROM audit_log WHERE action = 'deletion_request.create'") == 1


async def test_reading_one_asks_the_database_twice(
    app: FastAPI, client: httpx.AsyncClient, world: World
) -> None:
    """For the key, and for everything about the request; what is fine-tuned from a model that nothing is
    fine-tuned from is not looked for."""
    world.ready_model()
    made = await client.post("/v1/deletion-requests", json=body())
    await asyncio.gather(*app.state.background)  # the key's first use is being noted
    heard: list[str] = []
    engine = app.state.sessions.kw["bind"].sync_engine
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_: heard.append(statement))
    assert (await client.get(made.headers["location"])).json()["descendants"] == []
    assert ["find_api_key" in heard[0], "deletion_requests" in heard[1], *heard[2:]] == [True, True]


async def test_requests_join_the_open_job_until_it_is_claimed(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    first = (await client.post("/v1/deletion-requests", json=body())).json()
    second = (await client.post("/v1/deletion-requests", json=body(instances=["scan-3"]))).json()
    other = (await client.post("/v1/deletion-requests", json=body(method="retrain"))).json()
    assert first["job"] == second["job"] != other["job"]
    world.claim(first["job"])
    third = (await client.post("/v1/deletion-requests", json=body(instances=["scan-4"]))).json()
    assert third["job"] not in (first["job"], other["job"])


async def test_exact_means_retrained(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    first = (await client.post("/v1/deletion-requests", json=body())).json()
    assert (first["method"], first["guarantee"]) == ("interference_aware", "empirical")
    exact = (await client.post("/v1/deletion-requests", json=body(guarantee="exact"))).json()
    assert (exact["method"], exact["guarantee"]) == ("retrain", "exact")
    same = (await client.post("/v1/deletion-requests", json=body(method="retrain"))).json()
    assert exact["job"] == same["job"] != first["job"]
    contradicts = body(guarantee="exact", method="interference_aware")
    refused = await client.post("/v1/deletion-requests", json=contradicts)
    assert (refused.status_code, refused.json()["code"]) == (422, "validation_error")
    assert "name retrain, or no method" in refused.text

    # What was only unlearned is settled for who asks no more than that.
    world.claim(first["job"])
    world.publish(first["job"])
    world.run("UPDATE model_versions SET empirical_steps = 1 WHERE number = 2")
    assert (await client.post("/v1/deletion-requests", json=body())).status_code == 200
    again = await client.post("/v1/deletion-requests", json=body(guarantee="exact"))
    assert (again.status_code, again.json()["already_forgotten"]) == (202, 0)


async def test_the_job_takes_the_earliest_due_date(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    for regulation in (None, "ccpa", "gdpr", "CCPA", None):
        answer = await client.post("/v1/deletion-requests", json=body(regulation=regulation))
        assert answer.status_code == 202
    assert world.run("SELECT due_at::date = (created_at + interval '1 month')::date FROM jobs")
    # Opened, then made more urgent twice; what joined without changing anything needs no wake-up.
    assert world.run("SELECT count(*) FROM outbox") == 3


async def test_integers_stand_for_their_decimal_text(client: httpx.AsyncClient, world: World) -> None:
    world.ready_dataset(instances=["7", "8", "9"])
    world.ready_model()
    answer = await client.post("/v1/deletion-requests", json=body(instances=[7, "8"]))
    assert answer.status_code == 202, answer.text


REFUSED: list[tuple[str, dict[str, object], int, str]] = [
    ("unknown model", {"model": "nobody"}, 404, "model_not_found"),
    ("model by a strange name", {"model": "no/such\x00"}, 404, "model_not_found"),
    ("model by an unknown id", {"model": "01890000-0000-7000-8000-000000000000"}, 404, "model_not_found"),
    ("neither model nor dataset", {"model": None}, 422, "validation_error"),
    ("both model and dataset", {"dataset": "scans"}, 422, "validation_error"),
    ("unknown task", {"tasks": ["digit", "colour"]}, 422, "unknown_task"),
    ("no tasks", {"tasks": []}, 422, "validation_error"),
    ("a task twice", {"tasks": ["digit", "digit"]}, 422, "validation_error"),
    ("tasks by another word", {"tasks": "every"}, 422, "validation_error"),
    ("unknown instances", {"instances": ["scan-1", "ghost-1", "ghost-2"]}, 422, "unknown_instance"),
    ("no instances", {"instances": []}, 422, "no_instances"),
    ("an instance twice", {"instances": ["scan-1", "scan-2", "scan-1"]}, 422, "duplicate_instances"),
    ("the same as text and number", {"instances": ["1", 1]}, 422, "duplicate_instances"),
    ("an empty id", {"instances": [""]}, 422, "validation_error"),
    ("an id too long", {"instances": ["x" * 257]}, 422, "validation_error"),
    ("a number too long", {"instances": [10**300]}, 422, "instance_id_too_long"),
    ("a truth value", {"instances": [True]}, 422, "validation_error"),
    ("a fraction", {"instances": [1.5]}, 422, "validation_error"),
    ("a null", {"instances": [None]}, 422, "validation_error"),
    ("no list and no instances", {"instances": None}, 422, "validation_error"),
    (
        "a list that is not there",
        {"instances": None, "instance_list": "01890000-0000-7000-8000-000000000000"},
        404,
        "instance_list_not_found",
    ),
    ("a list that is no id", {"instances": None, "instance_list": "x"}, 422, "validation_error"),
    ("an unknown field", {"instance": ["scan-1"]}, 422, "validation_error"),
    ("an unknown regulation", {"regulation": "hipaa"}, 422, "unknown_regulation"),
    ("an unknown method", {"method": "wish"}, 422, "validation_error"),
    ("NUL in the reference", {"reference": "a\x00b"}, 422, "validation_error"),
    ("NUL in the metadata", {"metadata": {"a": ["\x00"]}}, 422, "validation_error"),
    ("metadata too deep", {"metadata": {"a": nested(300)}}, 422, "validation_error"),
    ("too much metadata", {"metadata": {"a": "x" * 20000}}, 422, "validation_error"),
    ("everything", {"instances": [f"scan-{i}" for i in range(20)]}, 422, "would_erase_task"),
]


async def test_bad_requests_write_nothing(
    client: httpx.AsyncClient, world: World, subtests: pytest.Subtests
) -> None:
    world.ready_model()
    for name, changes, status, code in REFUSED:
        with subtests.test(name):
            answer = await client.post("/v1/deletion-requests", json=body(**changes))
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
            assert answer.headers["content-type"] == "application/problem+json"
    assert world.run("SELECT count(*) FROM deletion_requests") == 0
    assert world.run("SELECT count(*) FROM jobs") == 0


async def test_refusals_say_what_would_help(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    unknown = await client.post("/v1/deletion-requests", json=body(instances=["scan-1", "g1", "g2"]))
    assert unknown.json()["count"] == 2
    assert unknown.json()["instance"] == "g1"
    assert unknown.json()["position"] == 1
    task = await client.post("/v1/deletion-requests", json=body(tasks=["colour"]))
    assert task.json()["known_tasks"] == ["digit", "parity"]
    assert "digit, parity" in task.json()["detail"]


async def test_too_many_instances(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    world.settings.max_instances_per_request = 3
    client._transport.app.state.settings.max_instances_per_request = 3  # type: ignore[attr-defined]
    answer = await client.post("/v1/deletion-requests", json=body(instances=["a", "b", "c", "d"]))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_instances")


async def test_a_model_that_is_not_ready(client: httpx.AsyncClient, world: World) -> None:
    model = world.ready_model()
    world.run("ALTER TABLE registered_models DISABLE TRIGGER enforce_transition")
    world.run("UPDATE registered_models SET status = 'validating' WHERE id = :m", m=model)
    answer = await client.post("/v1/deletion-requests", json=body())
    assert (answer.status_code, answer.json()["code"]) == (409, "model_not_ready")


@pytest.mark.parametrize("waiting", [True, False], ids=["queued requests count", "the ledger counts"])
async def test_no_task_loses_all_its_supervision(
    client: httpx.AsyncClient, world: World, waiting: bool
) -> None:
    """Only `parity` of scan-0 … scan-4 exists; two requests together would take it all."""
    world.ready_dataset(without={f"scan-{i}": ["parity"] for i in range(5, 20)})
    world.ready_model()
    first = await client.post(
        "/v1/deletion-requests", json=body(instances=[f"scan-{i}" for i in range(3)], tasks=["parity"])
    )
    assert first.status_code == 202
    if not waiting:
        world.claim(first.json()["job"])
        world.publish(first.json()["job"])
    rest = body(instances=["scan-3", "scan-4", "scan-9"], tasks=["parity"])
    refused = await client.post("/v1/deletion-requests", json=rest)
    assert (refused.status_code, refused.json()["code"]) == (422, "would_erase_task"), refused.text
    assert "parity" in refused.json()["detail"]
    almost = await client.post("/v1/deletion-requests", json=rest | {"instances": ["scan-3", "scan-0"]})
    assert almost.status_code == 202, almost.text
    digits = await client.post("/v1/deletion-requests", json=rest | {"tasks": ["digit"]})
    assert digits.status_code == 202, digits.text


async def test_what_is_forgotten_already_succeeds_at_once(client: httpx.AsyncClient, world: World) -> None:
    world.ready_dataset(without={"scan-9": ["parity"]})
    world.ready_model()
    first = (await client.post("/v1/deletion-requests", json=body(tasks=["parity"]))).json()
    world.claim(first["job"])
    assert world.publish(first["job"]) == 2
    done = (await client.get(f"/v1/deletion-requests/{first['id']}")).json()
    assert done["status"] == "succeeded"
    assert done["result_version"] == 2
    assert done["figures"] == [{"reference": first["id"], "task": "digit"}]
    assert [step["status"] for step in done["transitions"]] == ["queued", "running", "succeeded"]

    again = await client.post(
        "/v1/deletion-requests", json=body(instances=["scan-1", "scan-9"], tasks=["parity"])
    )
    assert again.status_code == 200
    assert "retry-after" not in again.headers
    made = again.json()
    assert (made["status"], made["result_version"], made["already_forgotten"]) == ("succeeded", 2, 2)
    assert made["job"] is None
    shown = (await client.get(again.headers["location"])).json()
    assert shown == made | {"transitions": shown["transitions"], "figures": [], "descendants": []}
    partly = await client.post("/v1/deletion-requests", json=body(instances=["scan-1", "scan-5"]))
    assert partly.status_code == 202
    assert partly.json()["already_forgotten"] == 0  # scan-1's digit is still remembered
    partly = await client.post(
        "/v1/deletion-requests", json=body(instances=["scan-1", "scan-5"], tasks=["parity"])
    )
    assert (partly.status_code, partly.json()["already_forgotten"]) == (202, 1)
    request_id = partly.json()["id"]
    kept = "SELECT count(*) FROM deletion_request_items WHERE deletion_request_id = :r"
    assert world.run(kept, r=request_id) == 2


async def test_a_mistyped_parameter_is_refused_and_deletes_nothing(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    answer = await client.post("/v1/deletion-requests?dryrun=true", json=body())
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_parameter")
    assert "it takes dry_run" in answer.json()["detail"]
    assert (await client.get("/v1/deletion-requests")).json()["data"] == []


async def test_a_dry_run_estimates_and_writes_nothing(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    headers = {"Idempotency-Key": "k"}
    answer = await client.post("/v1/deletion-requests?dry_run=true", json=body(), headers=headers)
    assert answer.status_code == 200
    assert answer.json()["instance_count"] == 2
    assert answer.json()["models"] == [
        {
            "model": "reader",
            "method": "interference_aware",
            "guarantee": "empirical",
            "tasks": ["digit", "parity"],
            "already_forgotten": 0,
            "gone": 0,
            "never_had": 0,
            "joins_open_job": False,
            "visits": 60,
            "passes": 120,
            "per_task": [
                {"task": task, "forgets": 2, "share": 0.1, "window_share": 0.1}
                for task in ("digit", "parity")
            ],
            "needs_approval": [],
        }
    ]
    for table in ("deletion_requests", "jobs", "outbox", "idempotency_keys"):
        assert world.run(f"SELECT count(*) FROM {table}") == 0
    assert world.run("SELECT count(*) FROM events WHERE type <> 'api_key.created'") == 0
    assert world.run("SELECT count(*) FROM audit_log WHERE actor LIKE 'key:%'") == 0
    refused = await client.post("/v1/deletion-requests?dry_run=true", json=body(tasks=["x"]))
    assert refused.status_code == 422


async def test_a_list_sent_ahead(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    sent = await client.post("/v1/instance-lists", json={"instances": ["scan-2", "scan-1", 99, "ghost"]})
    assert sent.status_code == 201
    refused = await client.post(
        "/v1/deletion-requests", json=body(instances=None, instance_list=sent.json()["id"])
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_instance")
    assert (refused.json()["position"], refused.json()["count"]) == (2, 2)
    good = (await client.post("/v1/instance-lists", json={"instances": ["scan-2", "scan-1"]})).json()
    made = await client.post("/v1/deletion-requests", json=body(instances=None, instance_list=good["id"]))
    assert (made.status_code, made.json()["instance_count"]) == (202, 2)
    assert (await client.delete(f"/v1/instance-lists/{good['id']}")).status_code == 204
    assert (await client.get(f"/v1/instance-lists/{good['id']}")).status_code == 404
    assert world.run("SELECT count(*) FROM deletion_request_items") == 2


async def test_a_data_set_fans_out_to_its_models(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model(name="reader")
    world.ready_model(name="counter", tasks=("digit",))
    answer = await client.post(
        "/v1/deletion-requests", json=body(model=None, dataset="scans", regulation="gdpr")
    )
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert made["model"] is None
    assert len(made["children"]) == 2
    shown = (await client.get(answer.headers["location"])).json()
    assert shown["children"] == made["children"]
    assert shown["status"] == "queued"
    children = [(await client.get(f"/v1/deletion-requests/{child}")).json() for child in made["children"]]
    assert {child["model"] for child in children} == {"reader", "counter"}
    assert all(child["parent"] == made["id"] and child["due_at"] for child in children)
    tag = (await client.get(answer.headers["location"])).headers["etag"]
    first, second = (child["job"] for child in children)
    world.claim(first)
    moved = await client.get(answer.headers["location"])
    assert moved.json()["status"] == "running"
    assert moved.headers["etag"] != tag
    world.publish(first)
    assert (await client.get(answer.headers["location"])).json()["status"] == "running"
    world.claim(second)
    world.publish(second)
    done = (await client.get(answer.headers["location"])).json()
    assert done["status"] == "succeeded"
    assert done["finished_at"]
    events = (await client.get(f"{answer.headers['location']}/events")).json()["data"]
    assert [e["type"] for e in events].count("request.succeeded") == 2
    listed = (await client.get("/v1/deletion-requests")).json()["data"]
    assert [item["id"] for item in listed] == [made["id"]]
    of_model = (await client.get("/v1/deletion-requests?model=counter")).json()["data"]
    assert [item["parent"] for item in of_model] == [made["id"]]


async def test_a_data_set_without_models(client: httpx.AsyncClient, world: World) -> None:
    world.ready_dataset()
    answer = await client.post("/v1/deletion-requests", json=body(model=None, dataset="scans"))
    assert (answer.status_code, answer.json()["code"]) == (409, "no_model_ready")
    answer = await client.post("/v1/deletion-requests", json=body(model=None, dataset="else"))
    assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")
    world.ready_model()
    answer = await client.post(
        "/v1/deletion-requests", json=body(model=None, dataset="scans", tasks=["colour"])
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_task")


async def test_what_is_cancelled_enters_the_journal_once_more(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
    made = (await client.post("/v1/deletion-requests", json=body)).json()
    world.run("UPDATE deletion_requests SET journaled_at = now() + interval '1 hour'")
    await client.post(f"/v1/deletion-requests/{made['id']}/cancel")
    assert world.run("SELECT journaled_at FROM deletion_requests") is None
