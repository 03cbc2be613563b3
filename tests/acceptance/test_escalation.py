"""From a candidate that misses its bounds to a person's decision, and the certificate that tells of it."""

import base64
import json
import time
import uuid
from typing import Any

from typer.testing import CliRunner

from app.admin import cli
from tests.acceptance.conftest import NETWORK, RECIPE, TASKS, Service, make_sample
from tests.acceptance.plain_http import Refused


def test_a_person_rejects_a_candidate_and_approves_the_next(service: Service) -> None:
    """More than may go without a person's word, and too much to unlearn, so that it is retrained; by a recipe
    that makes less of it."""
    name = f"m-{uuid.uuid4().hex[:8]}"
    sample, client = make_sample(service.data / name), service.client
    client.post("/v1/datasets", {"name": name, **sample.dataset})
    client.follow(f"/v1/datasets/{name}", lambda _: None)
    model = {
        "name": name,
        "network": NETWORK,
        "tasks": TASKS,
        "dataset": name,
        "recipe": RECIPE | {"epochs": 1},
        "policy": {"approval": {"share": 0.5}},
    }
    client.post("/v1/models", model)
    client.upload_checkpoint(name, sample.checkpoint)
    client.follow(f"/v1/models/{name}", lambda _: None)

    made = client.post("/v1/deletion-requests", {"model": name, "instances": sample.ids[:90], "tasks": "all"})
    url = f"/v1/deletion-requests/{made['id']}"
    assert made["status"] == "awaiting_approval"  # more than half of the supervision
    approve = ["approve", made["id"], "--reason", "the whole school has left"]
    address = service.deployment.environment["LETHE_DATABASE_URL"]
    approved = CliRunner().invoke(cli, approve, env={"LETHE_DATABASE_URL": address})
    assert approved.exit_code == 0, approved.output
    assert client.follow(url, lambda _: None)["status"] == "needs_review"
    job = client.get(f"/v1/jobs/{client.get(url)['job']}")
    assert [(rung["rung"], rung["result"]) for rung in job["rungs"]] == [
        ("first", "refused"), ("retrain", "missed"),
    ]  # fmt: skip
    assert "lost" in job["rungs"][1]["why_not"]
    assert job["attempts"][0]["rungs"] == job["rungs"]

    rejected = client.post(f"/v1/jobs/{job['id']}/reject", {"reason": "worse than I thought"})
    assert (rejected["status"], rejected["error_code"]) == ("failed", "candidate_rejected")
    assert client.get(url)["error_code"] == "candidate_rejected"
    assert client.get(f"/v1/models/{name}")["latest_version"] == 1

    again = client.post(f"/v1/jobs/{job['id']}/retry", {})
    assert client.follow(url, lambda _: None)["status"] == "needs_review"
    client.post(f"/v1/jobs/{again['id']}/approve", {"reason": "the data is gone, so be it"})
    done = client.follow(url, lambda _: None)
    assert (done["status"], done["result_version"]) == ("succeeded", 2), done
    version = client.get(f"/v1/models/{name}/versions/2")
    assert (version["guarantee"], version["empirical_steps"]) == ("exact", 0)
    predicate = _predicate(service, url)
    decision = predicate["gates"]["decision"]
    assert (decision["decision"], decision["reason"]) == ("approved", "the data is gone, so be it")
    assert decision["by"].startswith("key:")
    assert [rung["result"] for rung in predicate["tried"]] == ["refused", "missed"]


def _predicate(service: Service, request: str) -> dict[str, Any]:
    """Of its certificate, which the relay makes within seconds."""
    deadline = time.monotonic() + 30
    while True:
        try:
            envelope = service.client.get(f"{request}/certificate")
        except Refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
            continue
        found: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
        return found
