"""Deciding on jobs."""

from typing import Any

import httpx
import pytest

from tests.app.world import World

pytestmark = pytest.mark.anyio
REQUESTS = "/v1/deletion-requests"


@pytest.fixture
async def request_made(client: httpx.AsyncClient, world: World) -> dict[str, Any]:
    world.ready_model()
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
    made: dict[str, Any] = (await client.post(REQUESTS, json=body)).json()
    return made


def _fail(world: World, job: str) -> None:
    world.claim(job)
    world.move_requests(job, "failed")
    world.finish(job, "failed")


async def test_a_job_is_shown_while_it_runs(
    client: httpx.AsyncClient, world: World, request_made: dict[str, Any]
) -> None:
    job_id = request_made["job"]
    world.claim(job_id)
    world.run(
        "UPDATE jobs SET progress = '{\"done\": 3, \"total\": 9}', device = 'cpu' WHERE id = :id", id=job_id
    )
    world.run(
        "INSERT INTO attempts (id, tenant_id, job_id, fence, worker) SELECT gen_random_uuid(), tenant_id, id,"
        " 1, 'w1' FROM jobs WHERE id = :id",
        id=job_id,
    )
    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert (job["status"], job["phase"], job["device"]) == ("running", "unlearning", "cpu")
    assert job["progress"] == {"done": 3, "total": 9}
    assert [(a["number"], a["worker"], a["outcome"]) for a in job["attempts"]] == [(1, "w1", None)]
    assert job["requests"] == [request_made["id"]]
    assert job["model"] == "reader"
    world.publish(job_id)
    done = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert (done["status"], done["result_version"]) == ("succeeded", 2)
    assert done["report"]["requests"]
    listed = (await client.get("/v1/jobs", params={"model": "reader", "status": "succeeded"})).json()
    assert [item["id"] for item in listed["data"]] == [job_id]
    assert (await client.get("/v1/jobs", params={"status": "queued"})).json()["data"] == []
    events = (await client.get(f"/v1/jobs/{job_id}/events")).json()["data"]
    assert [event["type"] for event in events] == ["job.queued", "job.succeeded"]


async def test_cancelling(client: httpx.AsyncClient, world: World, request_made: dict[str, Any]) -> None:
    url = f"/v1/jobs/{request_made['job']}"
    assert (await client.post(f"{url}/cancel")).json()["status"] == "cancelled"
    assert (await client.get(f"{REQUESTS}/{request_made['id']}")).json()["status"] == "cancelled"
    again = await client.post(f"{url}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "job_finished")

    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
    second = (await client.post(REQUESTS, json=body)).json()
    world.claim(second["job"])
    running = (await client.post(f"/v1/jobs/{second['job']}/cancel")).json()
    assert (running["status"], bool(running["cancel_requested_at"])) == ("cancelling", True)
    assert (await client.get(f"{REQUESTS}/{second['id']}")).json()["status"] == "cancelling"
    assert (await client.post(f"/v1/jobs/{second['job']}/cancel")).status_code == 200


async def test_approving_sends_the_candidate_on(
    client: httpx.AsyncClient, world: World, request_made: dict[str, Any]
) -> None:
    job_id = request_made["job"]
    early = await client.post(f"/v1/jobs/{job_id}/approve", json={"reason": "measured again"})
    assert (early.status_code, early.json()["code"]) == (409, "job_not_in_review")
    world.claim(job_id)
    world.move_requests(job_id, "needs_review")
    world.finish(job_id, "needs_review")
    woken = world.run("SELECT count(*) FROM outbox")
    approved = await client.post(f"/v1/jobs/{job_id}/approve", json={"reason": "measured again"})
    assert approved.status_code == 200, approved.text
    assert (approved.json()["status"], bool(approved.json()["approved_at"])) == ("queued", True)
    assert (await client.get(f"{REQUESTS}/{request_made['id']}")).json()["status"] == "queued"
    assert world.run("SELECT count(*) FROM outbox") == woken + 1
    assert world.run("SELECT approved_by IS NOT NULL AND NOT accepts_requests FROM jobs")
    assert approved.json()["decision"]["reason"] == "measured again"
    audited = world.rows("SELECT data FROM audit_log WHERE action = 'job.approved'")
    assert audited[0].data == {"reason": "measured again"}
    body = {"model": "reader", "instances": ["scan-2"], "tasks": "all"}
    assert (await client.post(REQUESTS, json=body)).json()["job"] != job_id


async def test_rejecting_settles_the_requests_and_keeps_the_version(
    client: httpx.AsyncClient, world: World, request_made: dict[str, Any]
) -> None:
    job_id = request_made["job"]
    world.claim(job_id)
    world.move_requests(job_id, "needs_review")
    world.finish(job_id, "needs_review")
    without_why = await client.post(f"/v1/jobs/{job_id}/reject")
    assert (without_why.status_code, without_why.json()["code"]) == (422, "validation_error")
    rejected = (await client.post(f"/v1/jobs/{job_id}/reject", json={"reason": "parity suffers"})).json()
    assert (rejected["status"], rejected["error_code"]) == ("failed", "candidate_rejected")
    decision = rejected["decision"]
    assert (decision["decision"], decision["reason"]) == ("rejected", "parity suffers")
    assert decision["by"].startswith("key:")
    request = (await client.get(f"{REQUESTS}/{request_made['id']}")).json()
    assert (request["status"], request["error_code"]) == ("failed", "candidate_rejected")
    assert request["finished_at"]
    assert (await client.get("/v1/models/reader")).json()["latest_version"] == 1
    [audited] = world.rows("SELECT actor, data FROM audit_log WHERE action = 'job.rejected'")
    assert (audited.actor, audited.data) == (decision["by"], {"reason": "parity suffers"})
    again = await client.post(f"/v1/jobs/{job_id}/retry")
    assert again.status_code == 202, again.text
    assert (await client.get(f"{REQUESTS}/{request_made['id']}")).json()["status"] == "queued"


async def test_retrying(client: httpx.AsyncClient, world: World, request_made: dict[str, Any]) -> None:
    job_id = request_made["job"]
    early = await client.post(f"/v1/jobs/{job_id}/retry")
    assert (early.status_code, early.json()["code"]) == (409, "job_not_failed")
    _fail(world, job_id)
    answer = await client.post(f"/v1/jobs/{job_id}/retry")
    assert answer.status_code == 202, answer.text
    again = answer.json()
    assert again["id"] != job_id
    assert answer.headers["location"] == f"/v1/jobs/{again['id']}"
    assert again["requests"] == [request_made["id"]]
    request = (await client.get(f"{REQUESTS}/{request_made['id']}")).json()
    assert (request["status"], request["job"], request["finished_at"]) == ("queued", again["id"], None)
    assert [step["status"] for step in request["transitions"]] == ["queued", "running", "failed", "queued"]
    empty = await client.post(f"/v1/jobs/{job_id}/retry")
    assert (empty.status_code, empty.json()["code"]) == (409, "nothing_to_retry")


async def test_validations_are_cancelled_and_retried(client: httpx.AsyncClient, world: World) -> None:
    world.tenant("acme", "file:///data")
    sent = {"name": "scans", "url": "file:///data/a.npz"}
    job_id = (await client.post("/v1/datasets", json=sent)).json()["job"]
    await client.post(f"/v1/jobs/{job_id}/cancel")
    shown = (await client.get("/v1/datasets/scans")).json()
    assert (shown["status"], shown["error_code"]) == ("rejected", "cancelled")
    job_id = (await client.post("/v1/datasets", json=sent)).json()["job"]
    world.claim(job_id)
    world.finish(job_id, "failed")
    world.run("UPDATE datasets SET status = 'rejected', error_code = 'lost'")
    again = await client.post(f"/v1/jobs/{job_id}/retry")
    assert (again.status_code, again.json()["kind"]) == (202, "validate_dataset")
    assert (await client.get("/v1/datasets/scans")).json()["status"] == "validating"
    assert (await client.post(f"/v1/jobs/{job_id}/retry")).json()["code"] == "nothing_to_retry"
