"""Webhooks over HTTP: what is refused, and who may."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.webhooks.event_types import EVENT_TYPES
from tests.app.conftest import calling
from tests.app.world import World
from tests.webhooks.receiver import Receiver

pytestmark = pytest.mark.anyio

HOOKS = "/v1/webhooks"
ROOT = Path(__file__).parents[2]


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"url": "https://10.0.0.1/"}, "receiver_not_allowed"),
    ({"url": "https://[::ffff:10.0.0.1]/"}, "receiver_not_allowed"),
    ({"url": "https://user:pw@example.com/"}, "validation_error"),
    ({"url": "gopher://example.com/"}, "validation_error"),
    ({"url": "https://example.com/", "events": ["request.suceeded"]}, "validation_error"),
    ({"url": "https://example.com/", "events": []}, "validation_error"),
    ({"url": "https://example.com/", "secret": "mine"}, "validation_error"),
]


async def test_bad_input_is_refused(client: httpx.AsyncClient, subtests: pytest.Subtests) -> None:
    for sent, code in REFUSED:
        with subtests.test(str(sent)):
            answer = await client.post(HOOKS, json=sent)
            assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_an_endpoint_is_not_sent_elsewhere_by_a_change(
    client: httpx.AsyncClient, world: World, subtests: pytest.Subtests
) -> None:
    hook = (await client.post(HOOKS, json={"url": "https://example.com/"})).json()
    for sent, code in REFUSED:
        with subtests.test(str(sent)):
            answer = await client.patch(f"{HOOKS}/{hook['id']}", json=sent)
            assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert world.run("SELECT url FROM webhook_endpoints") == "https://example.com/"


async def test_only_administrators_and_only_so_many(
    app: FastAPI, client: httpx.AsyncClient, world: World
) -> None:
    async with calling(app, world.key("acme", "requests:write", "models:write")) as other:
        assert (await other.get(HOOKS)).status_code == 403
    made = [(await client.post(HOOKS, json={"url": "https://example.com/"})).json() for _ in range(20)]
    refused = await client.post(HOOKS, json={"url": "https://example.com/"})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_webhooks")
    assert (await client.delete(f"{HOOKS}/{made[0]['id']}")).status_code == 204
    assert (await client.get(f"{HOOKS}/{made[0]['id']}")).status_code == 404
    page = (await client.get(HOOKS, params={"limit": 10})).json()
    assert [one["id"] for one in page["data"]] == [one["id"] for one in reversed(made)][:10]
    assert page["has_more"]


async def test_without_the_operators_key_there_are_none(
    app: FastAPI, client: httpx.AsyncClient, world: World
) -> None:
    app.state.settings = app.state.settings.model_copy(update={"webhook_key": None})
    answer = await client.post(HOOKS, json={"url": "https://example.com/"})
    assert (answer.status_code, answer.json()["code"]) == (409, "webhooks_not_configured")
    assert world.run("SELECT count(*) FROM webhook_endpoints") == 0


async def test_a_ping_goes_to_one_endpoint_and_a_disabled_one_has_none(
    client: httpx.AsyncClient, world: World, receiver: Receiver
) -> None:
    hook = (await client.post(HOOKS, json={"url": receiver.url})).json()
    await client.post(HOOKS, json={"url": receiver.url})
    pinged = await client.post(f"{HOOKS}/{hook['id']}/ping")
    assert (pinged.status_code, pinged.json()["type"]) == (202, "webhook.ping")
    assert world.rows("SELECT endpoint_id::text FROM webhook_deliveries") == [(hook["id"],)]
    assert (await client.patch(f"{HOOKS}/{hook['id']}", json={"enabled": False})).json()["enabled"] is False
    assert (await client.post(f"{HOOKS}/{hook['id']}/ping")).json()["code"] == "webhook_disabled"


def test_every_event_that_the_code_writes_can_be_subscribed_to() -> None:
    """As far as its text shows: `tests.told_moves` has whatever the tests make it write refused. `note` puts
    `job.` before what it is given."""
    written: set[str] = set()
    for folder in ("app", "worker"):
        for source in (ROOT / folder).rglob("*.py"):
            code = source.read_text()
            written |= set(re.findall(r"\bevent\([^\"()]*\"([a-z_]+\.[a-z_]+)\"", code))
            for statement in re.findall(r"INSERT INTO events(.*?)\"\"\"", code, re.S):
                written |= set(re.findall(r"'([a-z_]+\.[a-z_]+)'", statement))
            noted = re.findall(r"changes\.note\(\s*session, caller, job, \"([a-z_]+)\"", code)
            written |= {f"job.{what}" for what in noted}
    assert {"job.approved", "version.published", "child.added", "model.ready"} <= written
    assert written - {"webhook.ping"} <= set(EVENT_TYPES)


def test_the_page_names_every_event() -> None:
    page = (ROOT / "docs" / "webhooks.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for each in EVENT_TYPES:
        group, name = each.split(".")
        assert any(f"`{each}`" in row or (f"`{group}.`" in row and f"`{name}`" in row) for row in rows), each
