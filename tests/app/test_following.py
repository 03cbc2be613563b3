"""Reading, listing, following and withdrawing deletion requests."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from app.core import event_stream
from tests.app.running import Serving
from tests.app.world import World

pytestmark = pytest.mark.anyio
PATH = "/v1/deletion-requests"
BODY = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}


async def _post(client: httpx.AsyncClient, **changes: object) -> dict[str, str]:
    answer = await client.post(PATH, json=BODY | changes)
    assert answer.status_code == 202, answer.text
    made: dict[str, str] = answer.json()
    return made


async def test_polling_with_a_weak_etag(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    made = await _post(client)
    url = f"{PATH}/{made['id']}"
    first = await client.get(url)
    assert first.headers["etag"].startswith('W/"')
    assert int(first.headers["retry-after"]) > 0
    unchanged = await client.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    world.claim(made["job"])
    changed = await client.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (changed.status_code, changed.json()["status"]) == (200, "running")
    world.publish(made["job"])
    assert "retry-after" not in (await client.get(url)).headers


async def test_lists_are_newest_first_and_paged(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    made = [await _post(client, instances=[f"scan-{i}"], reference=f"case {i % 2}") for i in range(5)]
    ids = [request["id"] for request in reversed(made)]
    first = (await client.get(PATH, params={"limit": 2})).json()
    assert ([item["id"] for item in first["data"]], first["has_more"]) == (ids[:2], True)
    rest = (await client.get(PATH, params={"limit": 3, "after": ids[1]})).json()
    assert ([item["id"] for item in rest["data"]], rest["has_more"]) == (ids[2:], False)
    odd = (await client.get(PATH, params={"reference": "case 1"})).json()["data"]
    assert {item["reference"] for item in odd} == {"case 1"}
    world.claim(made[0]["job"])
    assert len((await client.get(PATH, params={"status": "running"})).json()["data"]) == 5
    assert (await client.get(PATH, params={"status": "queued"})).json()["data"] == []
    assert (await client.get(PATH, params={"model": "nobody"})).status_code == 404
    for bad in ({"limit": 0}, {"limit": 101}, {"after": "x"}, {"status": "lost"}):
        assert (await client.get(PATH, params=bad)).status_code == 422


async def test_a_queued_request_is_cancelled_at_once(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    one, two = await _post(client), await _post(client, instances=["scan-2"])
    cancelled = await client.post(f"{PATH}/{one['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert cancelled.json()["finished_at"]
    assert (await client.get(f"/v1/jobs/{two['job']}")).json()["status"] == "queued"
    await client.post(f"{PATH}/{two['id']}/cancel")
    job = (await client.get(f"/v1/jobs/{two['job']}")).json()
    assert job["status"] == "cancelled"
    again = await client.post(f"{PATH}/{one['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "request_finished")
    assert (await _post(client))["job"] != two["job"]
    events = (await client.get(f"{PATH}/{one['id']}/events")).json()["data"]
    assert [event["type"] for event in events] == ["request.queued", "request.cancelled"]


async def test_a_running_request_is_withdrawn_from_its_job(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    one, two = await _post(client), await _post(client, instances=["scan-2"])
    world.claim(one["job"])
    withdrawn = await client.post(f"{PATH}/{one['id']}/cancel")
    assert withdrawn.json()["status"] == "cancelling"
    assert (await client.get(f"/v1/jobs/{one['job']}")).json()["status"] == "running"
    assert (await client.post(f"{PATH}/{one['id']}/cancel")).json()["status"] == "cancelling"
    await client.post(f"{PATH}/{two['id']}/cancel")
    job = (await client.get(f"/v1/jobs/{one['job']}")).json()
    assert job["status"] == "cancelling"
    assert job["cancel_requested_at"]


async def test_a_request_under_review(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    one, two = await _post(client), await _post(client, instances=["scan-2"])
    world.claim(one["job"])
    world.move_requests(one["job"], "needs_review")
    world.finish(one["job"], "needs_review")
    rejected = await client.post(f"/v1/jobs/{one['job']}/reject", json={"reason": "too far off"})
    assert rejected.json()["status"] == "failed"
    settled = (await client.get(f"{PATH}/{two['id']}")).json()
    assert (settled["status"], settled["error_code"]) == ("failed", "candidate_rejected")


async def test_one_of_several_under_review_is_taken_back_and_the_others_are_carried_out_without_it(
    client: httpx.AsyncClient, world: World
) -> None:
    """The candidate has forgotten it with the others, and is dropped."""
    world.ready_model()
    one, two = await _post(client), await _post(client, instances=["scan-2"])
    world.claim(one["job"])
    world.move_requests(one["job"], "needs_review")
    world.finish(one["job"], "needs_review")
    world.run("UPDATE jobs SET rungs = '[{}]', report = '{}' WHERE id = :id", id=one["job"])
    taken_back = await client.post(f"{PATH}/{one['id']}/cancel")
    assert (taken_back.status_code, taken_back.json()["status"]) == (200, "cancelled")
    assert (await client.get(f"{PATH}/{two['id']}")).json()["status"] == "queued"
    job = (await client.get(f"/v1/jobs/{one['job']}")).json()
    assert (job["status"], job["rungs"], job["error_code"]) == ("queued", [], None)
    assert world.run("SELECT count(*) FROM outbox WHERE job_id = :id AND sent_at IS NULL", id=one["job"])
    assert (await client.post(f"/v1/jobs/{one['job']}/approve", json={"reason": "so"})).status_code == 409
    alone = await client.post(f"{PATH}/{two['id']}/cancel")
    assert alone.json()["status"] == "cancelled"
    assert (await client.get(f"/v1/jobs/{one['job']}")).json()["status"] == "cancelled"


async def _events(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line.startswith(":"):
            continue
        if not line and event:
            yield event
            event = {}
        elif line:
            name, _, value = line.partition(": ")
            event[name] = value


async def test_the_stream_follows_to_the_end_and_resumes(
    served: Serving, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(event_stream, "KEEPALIVE_SECONDS", 0.05)
    world.ready_model()
    headers = {"Authorization": f"Bearer {world.key('acme', 'admin')}", "Accept": "text/event-stream"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=20) as client:
        made = await _post(client)
        url = f"{PATH}/{made['id']}/events"
        seen: list[dict[str, str]] = []
        async with client.stream("GET", url) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            async for event in _events(answer):
                seen.append(event)
                match event.get("event"):
                    case "request.queued":
                        await asyncio.to_thread(world.claim, made["job"])
                    case "request.running":
                        world.run(
                            'UPDATE jobs SET progress = \'{"done": 1, "total": 4}\' WHERE id = :j',
                            j=made["job"],
                        )
                    case "progress":
                        await asyncio.to_thread(world.publish, made["job"])
        named = [event for event in seen if "event" in event]
        assert [event["event"] for event in named] == [
            "request.queued",
            "request.running",
            "progress",
            "request.succeeded",
        ]
        assert json.loads(named[2]["data"]) == {"done": 1, "total": 4, "phase": "unlearning"}
        assert "id" not in named[2]
        numbers = [int(event["id"]) for event in named if "id" in event]
        assert numbers == sorted(numbers)
        async with client.stream("GET", url, headers={"Last-Event-ID": named[0]["id"]}) as answer:
            resumed = [event["event"] async for event in _events(answer) if "event" in event]
        assert resumed == ["request.running", "request.succeeded"]
        ended = await client.get(url, headers={"Last-Event-ID": named[-1]["id"]})
        assert (ended.status_code, ended.content) == (204, b"")
        listed = await client.get(url, headers={"Accept": "application/json"})
        assert [event["id"] for event in listed.json()["data"]] == numbers
        for unreadable in ("latest", "9" * 5000):
            bad = await client.get(url, headers={"Last-Event-ID": unreadable})
            assert (bad.status_code, bad.json()["code"]) == (400, "last_event_id_invalid")


async def test_idle_streams_hold_no_connection(
    served: Serving, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More streams than the pool has connections; each says that it is alive, and others are served."""
    monkeypatch.setattr(event_stream, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(event_stream, "KEEPALIVE_SECONDS", 0.2)
    world.ready_model()
    headers = {"Authorization": f"Bearer {world.key('acme', 'admin')}"}
    limits = httpx.Limits(max_connections=60)
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=20, limits=limits) as client:
        made = await _post(client)
        alive = asyncio.Semaphore(0)
        done = asyncio.Event()

        async def follow() -> None:
            accept = {"Accept": "text/event-stream"}
            async with client.stream("GET", f"/v1/jobs/{made['job']}/events", headers=accept) as answer:
                async for line in answer.aiter_lines():
                    if line == ": ping":
                        alive.release()
                        break
                await done.wait()

        async with asyncio.timeout(20), asyncio.TaskGroup() as followers:
            for _ in range(40):
                followers.create_task(follow())
            for _ in range(40):
                await alive.acquire()
            assert (await client.get(f"{PATH}/{made['id']}")).status_code == 200
            done.set()
