"""What is recorded of a request's dates: that the person was told of its receipt, and of an extension."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.app.world import World

pytestmark = pytest.mark.anyio
URL = "/v1/deletion-requests"


async def post(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all", "regulation": "ccpa"} | changes
    answer = await client.post(URL, json={key: value for key, value in body.items() if value is not None})
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json()
    return made


def notice(**changes: Any) -> dict[str, Any]:
    return {
        "reason": "Two models have to be retrained.",
        "notified_at": datetime.now(UTC).isoformat(),
    } | changes


async def test_an_extension_is_recorded_and_makes_the_job_less_urgent(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    made = await post(client)
    other = await post(client, instances=["scan-2"])
    assert made["job"] == other["job"]
    assert made["acknowledge_by"] < made["due_at"]
    answer = await client.post(f"{URL}/{made['id']}/extend", json=notice())
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    created = datetime.fromisoformat(shown["created_at"])
    assert abs(datetime.fromisoformat(shown["due_at"]) - created - timedelta(days=90)) < timedelta(seconds=5)
    assert shown["extension"]["previous_due_at"] == made["due_at"]
    assert (await client.get(f"{URL}/{made['id']}")).json() == shown | {"descendants": []}
    assert shown["extension"]["reason"] == "Two models have to be retrained."
    # The other request in the job still wants it by its own date.
    job = (await client.get(f"/v1/jobs/{made['job']}")).json()
    assert job["due_at"] == other["due_at"]
    world.run("UPDATE deletion_requests SET alarms = '{acknowledge_soon, due_soon}'")
    await client.post(f"{URL}/{other['id']}/extend", json=notice())
    alarms = world.run("SELECT alarms FROM deletion_requests WHERE id = :id", id=other["id"])
    assert alarms == ["acknowledge_soon"], "the new date is warned of, too"
    job = (await client.get(f"/v1/jobs/{made['job']}")).json()
    assert job["due_at"] == shown["due_at"]
    audited = world.rows("SELECT data FROM audit_log WHERE action = 'deletion_request.extend' ORDER BY id")
    assert audited[0].data["due_at"] == shown["due_at"]
    types = [each["type"] for each in (await client.get(f"{URL}/{made['id']}/events")).json()["data"]]
    assert types == ["request.queued", "deadline.extended"]


async def test_what_cannot_be_extended(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    made = await post(client)

    async def refusal(request: dict[str, Any], **changes: Any) -> str:
        answer = await client.post(f"{URL}/{request['id']}/extend", json=notice(**changes))
        assert answer.status_code in (409, 422)
        code: str = answer.json()["code"]
        return code

    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert await refusal(made, notified_at=tomorrow) == "notified_in_the_future"
    assert await refusal(made, notified_at="2026-11-20T09:00:00") == "validation_error"  # no time zone
    assert (await client.post(f"{URL}/{made['id']}/extend", json=notice())).status_code == 200
    assert await refusal(made) == "already_extended"
    assert await refusal(await post(client, regulation=None, instances=["scan-3"])) == "no_extension"
    late = await post(client, instances=["scan-4"])
    world.run("UPDATE deletion_requests SET due_at = now() - interval '1 hour' WHERE id = :id", id=late["id"])
    assert await refusal(late) == "due_date_passed"
    await client.post(f"{URL}/{late['id']}/cancel")
    assert await refusal(late) == "request_finished"


async def test_a_request_on_a_data_set_shares_its_dates_with_its_children(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model(name="one")
    world.ready_model(name="two")
    made = await post(client, model=None, dataset="scans")
    child = made["children"][0]
    refused = await client.post(f"{URL}/{child}/extend", json=notice())
    assert refused.json()["code"] == "no_extension"
    await client.post(f"{URL}/{child}/acknowledge")
    for call, sent in (("extend", notice()), ("acknowledge", None)):
        world.run("UPDATE deletion_requests SET journaled_at = now()")
        assert (await client.post(f"{URL}/{made['id']}/{call}", json=sent)).status_code == 200
        assert world.run("SELECT count(*) FROM deletion_requests WHERE journaled_at IS NULL") == 3
    world.run(
        "UPDATE deletion_requests SET acknowledged_at = (SELECT max(acknowledged_at) FROM deletion_requests)"
    )
    dates = {
        (shown["due_at"], shown["acknowledged_at"])
        for shown in [(await client.get(f"{URL}/{each}")).json() for each in (made["id"], *made["children"])]
    }
    assert len(dates) == 1
    assert world.run("SELECT count(DISTINCT due_at) FROM jobs") == 1


async def test_an_acknowledgement_counts_once(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    made = await post(client)
    first = (await client.post(f"{URL}/{made['id']}/acknowledge")).json()["acknowledged_at"]
    again = (await client.post(f"{URL}/{made['id']}/acknowledge")).json()["acknowledged_at"]
    assert first == again is not None
    assert world.run("SELECT count(*) FROM audit_log WHERE action = 'deletion_request.acknowledge'") == 1
    missing = await client.post(f"{URL}/{world.tenant('other')}/acknowledge")
    assert missing.status_code == 404
