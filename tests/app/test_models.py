"""Registering models, and reading them."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app.world import World, nested

pytestmark = pytest.mark.anyio

GOOD: dict[str, Any] = {
    "name": "reader",
    "network": {"kind": "mlp", "inputs": 64, "hidden": [32]},
    "tasks": [
        {"name": "digit", "kind": "classification", "outputs": 10},
        {"name": "parity", "kind": "classification", "outputs": 2},
    ],
    "dataset": "scans",
    "recipe": {"optimizer": "adam", "learning_rate": 0.001, "epochs": 3, "batch_size": 32},
}

NETWORK: dict[str, Any] = GOOD["network"]


async def test_a_model_is_registered(client: httpx.AsyncClient, world: World) -> None:
    world.ready_dataset()
    answer = await client.post("/v1/models", json=GOOD)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "/v1/models/reader"
    made = answer.json()
    assert made["status"] == "awaiting_checkpoint"
    assert made["network"] == GOOD["network"]
    assert made["recipe"] == GOOD["recipe"] | {
        "weight_decay": 0.0,
        "momentum": 0.9,
        "schedule": "constant",
        "loss_weights": {},
    }
    assert made["policy"] == {
        "method": "interference_aware",
        "visits": 60,
        "gates": {
            "retained_drop": 5.0,
            "unnamed_drop": 5.0,
            "forget_excess": 10.0,
            "earlier_excess": 0.0,
            "retained_loss": None,
            "membership_auc": None,
        },
        "on_miss": ["larger_budget", "retrain", "needs_review"],
        "budget_factor": 4.0,
        "window": 0,
        "max_requests": None,
        "max_empirical_steps": None,
        "quarantine_after": 7.0,
        "delete_after": 23.0,
        "approval": {"share": None, "window_share": None, "window_days": None},
    }
    assert [task["name"] for task in made["tasks"]] == ["digit", "parity"]
    assert (await client.get("/v1/models/reader")).json() == made
    assert (await client.get(f"/v1/models/{made['id']}")).json() == made
    assert (await client.get("/v1/models")).json() == {"data": [made], "has_more": False}
    assert (await client.get("/v1/models/reader/versions")).json() == {"data": [], "has_more": False}
    assert (await client.get("/v1/models/reader/versions/1")).status_code == 404
    again = await client.post("/v1/models", json=GOOD)
    assert (again.status_code, again.json()["code"]) == (409, "model_exists")


async def test_policies_of_earlier_days_and_bounds_per_task(client: httpx.AsyncClient, world: World) -> None:
    world.ready_dataset()
    for number, (sent, kept) in enumerate({"needs_review": ["needs_review"], "fail": ["fail"]}.items()):
        answer = await client.post(
            "/v1/models", json=GOOD | {"name": f"m{number}", "policy": {"on_miss": sent}}
        )
        assert answer.json()["policy"]["on_miss"] == kept
    gates = {"retained_drop": {"digit": 1.0}, "unnamed_drop": None, "membership_auc": {"parity": 0.1}}
    made = (await client.post("/v1/models", json=GOOD | {"policy": {"gates": gates}})).json()
    assert made["policy"]["gates"] == {
        "retained_drop": {"digit": 1.0, "parity": 5.0},
        "unnamed_drop": None,
        "forget_excess": 10.0,
        "earlier_excess": 0.0,
        "retained_loss": None,
        "membership_auc": {"digit": None, "parity": 0.1},
    }


async def test_a_checkpoint_named_by_url(client: httpx.AsyncClient, world: World, tmp_path: Path) -> None:
    world.tenant("acme", f"file://{tmp_path}")
    world.ready_dataset()
    outside = await client.post("/v1/models", json=GOOD | {"checkpoint_url": "file:///etc/passwd"})
    assert (outside.status_code, outside.json()["code"]) == (422, "url_not_allowed")
    answer = await client.post(
        "/v1/models", json=GOOD | {"checkpoint_url": f"file://{tmp_path}/weights.safetensors"}
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"] == "validating"
    assert answer.json()["job"]
    version = (await client.get("/v1/models/reader/versions/1")).json()
    assert (version["state"], version["digest"]) == ("pending", None)
    assert world.run("SELECT state FROM artifacts") == "pending"


async def test_models_that_are_refused(
    client: httpx.AsyncClient, world: World, subtests: pytest.Subtests
) -> None:
    world.ready_dataset()
    world.ready_dataset(name="bare", holdout=False)
    world.run(
        "INSERT INTO datasets (id, tenant_id, name, format, url) VALUES (gen_random_uuid(), :t, 'new',"
        " 'arrays', 'file:///x')",
        t=world.tenant(),
    )
    task, recipe = GOOD["tasks"][0], GOOD["recipe"]
    cases: dict[str, tuple[dict[str, Any], int, str]] = {
        "unknown data set": ({"dataset": "none"}, 422, "dataset_unknown"),
        "data set without holdout": ({"dataset": "bare"}, 422, "holdout_missing"),
        "data set not ready": ({"dataset": "new"}, 409, "dataset_not_ready"),
        "unknown target": ({"tasks": [task | {"name": "colour"}]}, 422, "unknown_target"),
        "no tasks": ({"tasks": []}, 422, "validation_error"),
        "a task twice": ({"tasks": [task, task]}, 422, "validation_error"),
        "no outputs": ({"tasks": [task | {"outputs": 0}]}, 422, "validation_error"),
        "unknown optimizer": ({"recipe": recipe | {"optimizer": "lion"}}, 422, "validation_error"),
        "a rate of nothing": ({"recipe": recipe | {"learning_rate": 0}}, 422, "validation_error"),
        "a rate as text": ({"recipe": recipe | {"learning_rate": "0.1"}}, 422, "validation_error"),
        "loss weight of no task": (
            {"recipe": recipe | {"loss_weights": {"x": 1.0}}},
            422,
            "loss_weights_unknown",
        ),
        "unknown method": ({"policy": {"method": "forget_it"}}, 422, "validation_error"),
        "a negative gate": ({"policy": {"gates": {"retained_drop": -1}}}, 422, "validation_error"),
        "a gate of no task": (
            {"policy": {"gates": {"retained_drop": {"x": 1.0}}}},
            422,
            "gates_unknown_task",
        ),
        "a ladder that does not end": ({"policy": {"on_miss": ["retrain"]}}, 422, "validation_error"),
        "a rung below the last": ({"policy": {"on_miss": ["fail", "retrain"]}}, 422, "validation_error"),
        "no kind": ({"network": {"inputs": 3}}, 422, "validation_error"),
        "a network with NUL": ({"network": NETWORK | {"a": "\0"}}, 422, "validation_error"),
        "a network too deep": ({"network": NETWORK | {"a": nested(40)}}, 422, "validation_error"),
        "a network too long": ({"network": NETWORK | {"hidden": [8] * 100_000}}, 422, "validation_error"),
        "a URL with a bracket": ({"checkpoint_url": "file://[x/"}, 422, "url_invalid"),
        "unknown field": ({"owner": "me"}, 422, "validation_error"),
        "no recipe": ({"recipe": None}, 422, "validation_error"),
        "a name with a slash": ({"name": "a/b"}, 422, "validation_error"),
    }
    for name, (changes, status, code) in cases.items():
        with subtests.test(name):
            answer = await client.post("/v1/models", json=GOOD | changes)
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    # What JSON libraries write, though JSON has no such thing.
    for odd in ("NaN", "1e999", '"\\ud800"'):
        with subtests.test(odd):
            body = json.dumps(GOOD).replace('"inputs": 64', f'"inputs": {odd}')
            answer = await client.post(
                "/v1/models", content=body, headers={"Content-Type": "application/json"}
            )
            assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), answer.text
    assert world.run("SELECT count(*) FROM registered_models") == 0


async def test_the_line_of_versions(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
    job = (await client.post("/v1/deletion-requests", json=body)).json()["job"]
    world.claim(job)
    world.publish(job)
    versions = (await client.get("/v1/models/reader/versions")).json()["data"]
    assert [(v["number"], v["parent"], v["state"]) for v in versions] == [
        (2, 1, "published"),
        (1, None, "superseded"),
    ]
    assert versions[0]["aliases"] == ["latest"]
    assert versions[0]["job"] == job
    assert versions[0]["report"]["requests"]
    assert versions[0]["digest"].startswith("sha256:")
    assert (await client.get("/v1/models/reader/versions/latest")).json() == versions[0]
    assert (await client.get("/v1/models/reader/versions/1")).json() == versions[1]
    for missing in ("3", "champion", "0", "99999999999999999999", "a%00"):
        assert (await client.get(f"/v1/models/reader/versions/{missing}")).status_code == 404
    model = (await client.get("/v1/models/reader")).json()
    assert model["latest_version"] == 2
    assert [task["remaining"] for task in model["tasks"]] == [19, 19]
    listed = (await client.get("/v1/models/reader/versions", params={"limit": 1})).json()
    assert listed == {"data": versions[:1], "has_more": True}


async def test_a_versions_signature(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    answer = await client.get("/v1/models/reader/versions/1/signature")
    assert (answer.status_code, answer.json()["code"]) == (404, "signature_not_found")
    world.run("""UPDATE model_versions SET report = '{"signature": {"bundle": {"mediaType": "x"}}}'""")
    answer = await client.get("/v1/models/reader/versions/latest/signature")
    assert answer.json() == {"mediaType": "x"}
    assert "model.sig" in answer.headers["content-disposition"]
