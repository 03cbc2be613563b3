"""A model on a newer snapshot of its data: what can be asked of it, and found out."""

from typing import Any

import httpx

from tests.app.world import World

GONE, HERE = "scan-1", "scan-2"


def snapshot(world: World, name: str = "scans-2", of: str = "scans", **more: Any) -> None:
    """As validation leaves it: without GONE."""
    world.ready_dataset(name=name, instances=[f"scan-{i}" for i in range(20) if f"scan-{i}" != GONE], **more)
    world.run(
        "UPDATE datasets SET refreshes_id = (SELECT id FROM datasets WHERE name = :of) WHERE name = :name",
        of=of,
        name=name,
    )
    for dataset in (name, of):
        world.run(
            "UPDATE datasets SET targets = (SELECT jsonb_agg(t || jsonb_build_object('supervised',"
            " instance_count)) FROM jsonb_array_elements(targets) t) WHERE name = :n",
            n=dataset,
        )


async def test_a_snapshot_is_registered(client: httpx.AsyncClient, world: World, tmp_path: Any) -> None:
    world.tenant("acme", f"file://{tmp_path}")
    world.ready_dataset()
    sent = {"name": "scans-2", "url": f"file://{tmp_path}/train.npz", "refreshes": "scans"}
    made = await client.post("/v1/datasets", json=sent)
    assert (made.status_code, made.json()["refreshes"]) == (202, "scans"), made.text
    assert (await client.post("/v1/datasets", json=sent)).status_code == 200
    for refreshes, format, code in (
        ("none", "arrays", "refreshes_unknown"),
        ("scans-3", "arrays", "refreshes_unknown"),
        ("scans", "nyuv2", "refreshes_another_format"),
    ):
        wrong = sent | {"name": "scans-3", "refreshes": refreshes, "format": format}
        answer = await client.post("/v1/datasets", json=wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_model_is_moved_and_forgets_what_is_gone(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    snapshot(world)
    moved = await client.put("/v1/models/reader/dataset", json={"dataset": "scans-2"})
    assert (moved.status_code, moved.json()["dataset"]) == (200, "scans-2"), moved.text
    assert [task["remaining"] for task in moved.json()["tasks"]] == [19, 19]
    again = await client.put("/v1/models/reader/dataset", json={"dataset": "scans-2"})
    assert again.status_code == 200

    body = {"model": "reader", "instances": [GONE, HERE], "tasks": "all"}
    refused = await client.post("/v1/deletion-requests", json=body | {"method": "interference_aware"})
    assert (refused.status_code, refused.json()["code"]) == (422, "instances_gone")
    unknown = await client.post("/v1/deletion-requests", json=body | {"instances": ["nobody"]})
    assert unknown.json()["code"] == "unknown_instance"
    present = await client.post("/v1/deletion-requests", json=body | {"instances": ["scan-3"]})
    assert present.json()["method"] == "interference_aware"
    made = (await client.post("/v1/deletion-requests", json=body)).json()
    assert made["method"] == "retrain"

    async def state() -> str:
        looked = await client.post("/v1/lookups", json={"dataset": "scans", "instances": [GONE]})
        [model] = looked.json()["data"][0]["models"]
        return str(model["tasks"][0]["state"])

    assert await state() == "pending"
    world.claim(made["job"])
    world.publish(made["job"])
    assert await state() == "forgotten"
    again = await client.post("/v1/deletion-requests", json=body | {"instances": [GONE]})
    assert (again.status_code, again.json()["status"]) == (200, "succeeded")
    assert world.run("SELECT count(*) FROM audit_log WHERE action = 'model.refresh'") == 1


async def test_a_request_on_the_old_snapshot_finds_the_model_on_the_new(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    world.ready_model(name="stayed")
    snapshot(world)
    await client.put("/v1/models/reader/dataset", json={"dataset": "scans-2"})
    body = {"dataset": "scans", "instances": [GONE], "tasks": "all"}
    made = await client.post("/v1/deletion-requests", json=body)
    assert made.status_code == 202, made.text
    children = world.rows(
        "SELECT m.name, r.method FROM deletion_requests r JOIN registered_models m"
        " ON m.id = r.registered_model_id WHERE r.parent_id = :p ORDER BY m.name",
        p=made.json()["id"],
    )
    assert children == [("reader", "retrain"), ("stayed", "interference_aware")]
    shown = (await client.get(f"/v1/deletion-requests/{made.json()['id']}")).json()
    assert shown["dataset"] == "scans"


async def test_a_request_finds_models_that_were_registered_on_another_snapshot(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    snapshot(world)
    world.run("UPDATE datasets SET hash_key_id = 'k0' WHERE name = 'scans-2'")
    world.ready_model(name="second", dataset="scans-2")
    snapshot(world, "scans-3", of="scans-2")
    world.ready_model(name="third", dataset="scans-3")
    world.ready_model(name="elsewhere", dataset="other")
    body = {"dataset": "scans-2", "instances": [GONE, HERE], "tasks": "all"}
    asked = {"dataset": "scans-2", "instances": [GONE, HERE, "nobody"]}
    for path, sent in (("deletion-requests", body), ("lookups", asked)):
        refused = await client.post(f"/v1/{path}", json=sent)
        assert (refused.status_code, refused.json()["code"]) == (409, "hash_key_changed")
    world.run("UPDATE datasets SET hash_key_id = 'k1'")

    dry = (await client.post("/v1/deletion-requests", params={"dry_run": True}, json=body)).json()
    parts = {each["model"]: (each["never_had"], each["passes"]) for each in dry["models"]}
    assert parts == {"reader": (0, 120), "second": (1, 60), "third": (1, 60)}
    made = (await client.post("/v1/deletion-requests", json=body)).json()
    assert (made["dataset"], made["instance_count"]) == ("scans-2", 2)
    shown = [(await client.get(f"/v1/deletion-requests/{each}")).json() for each in made["children"]]
    assert [
        (each["model"], each["dataset"], each["instance_count"], each["never_had"]) for each in shown
    ] == [
        ("reader", "scans", 2, 0),
        ("second", "scans-2", 1, 1),
        ("third", "scans-3", 1, 1),
    ]
    looked = (await client.post("/v1/lookups", json=asked)).json()["data"]
    found = [(each["known"], [model["model"] for model in each["models"]]) for each in looked]
    assert found == [(True, ["reader"]), (True, ["reader", "second", "third"]), (False, [])]
    assert {task["state"] for each in looked for model in each["models"] for task in model["tasks"]} == {
        "pending"
    }

    everywhere = await client.post("/v1/deletion-requests", json=body | {"instances": ["nobody", GONE]})
    assert (everywhere.status_code, everywhere.json()["code"]) == (422, "unknown_instance")
    assert (everywhere.json()["instance"], everywhere.json()["count"]) == ("nobody", 1)
    world.run("UPDATE registered_models SET status = 'destroyed' WHERE name = 'reader'")
    nobody = await client.post("/v1/deletion-requests", json=body | {"dataset": "scans", "instances": [GONE]})
    assert (nobody.status_code, nobody.json()["code"]) == (409, "no_model_ready")


async def test_where_a_model_cannot_be_moved_to(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    snapshot(world)
    world.ready_dataset(name="else")

    async def refusal(dataset: str) -> tuple[int, str]:
        answer = await client.put("/v1/models/reader/dataset", json={"dataset": dataset})
        return answer.status_code, answer.json()["code"]

    assert await refusal("none") == (422, "dataset_unknown")
    assert await refusal("else") == (422, "dataset_not_a_snapshot")
    made = await client.post(
        "/v1/deletion-requests", json={"model": "reader", "instances": [HERE], "tasks": "all"}
    )
    world.claim(made.json()["job"])
    assert await refusal("scans-2") == (409, "job_active")
    world.publish(made.json()["job"])
    world.run("UPDATE datasets SET hash_key_id = 'k2' WHERE name = 'scans-2'")
    assert await refusal("scans-2") == (409, "hash_key_changed")
