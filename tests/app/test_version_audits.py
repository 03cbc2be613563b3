"""Stronger looks at a version, over HTTP."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from tests.app.conftest import calling
from tests.app.world import World
from worker.audit.storing import store_report

pytestmark = pytest.mark.anyio

AUDITS = "/v1/models/reader/versions/1/audits"


def stored(worker_engine: Engine, world: World, *findings: str) -> str:
    """As the command stores it, in the worker's role."""
    version = world.run("SELECT id FROM model_versions WHERE number = 1")
    report: dict[str, Any] = {"findings": list(findings), "tasks": {"digit": {"auc": 0.5}}}
    with Session(worker_engine) as session, session.begin():
        return str(store_report(session, version, report))


async def test_looks_are_listed_newest_first_and_read_whole(
    client: httpx.AsyncClient, world: World, worker_engine: Engine
) -> None:
    world.ready_model()
    assert (await client.get(AUDITS)).json() == {"data": [], "has_more": False}
    first, second = stored(worker_engine, world, "one"), stored(worker_engine, world, "two", "three")
    page = (await client.get(AUDITS, params={"limit": 1})).json()
    assert [(item["id"], item["findings"]) for item in page["data"]] == [(second, ["two", "three"])]
    assert page["has_more"]
    rest = (await client.get(AUDITS, params={"after": second})).json()
    assert [item["id"] for item in rest["data"]] == [first]

    one = (await client.get(f"{AUDITS}/{first}")).json()
    assert one["report"] == {"findings": ["one"], "tasks": {"digit": {"auc": 0.5}}}
    logged = world.rows("SELECT data FROM audit_log WHERE action = 'version.audited' ORDER BY id")
    assert logged[0].data == {"audit": first, "digest": one["digest"]}
    assert (await client.get(f"{AUDITS.replace('1', 'latest')}/{first}")).status_code == 404
    unknown = await client.get(f"{AUDITS}/01890000-0000-7000-8000-000000000000")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "version_audit_not_found")


async def test_a_key_that_may_not_read_models_reads_no_looks(app: FastAPI, world: World) -> None:
    world.ready_model()
    async with calling(app, world.key("acme", "requests:read")) as other:
        assert (await other.get(AUDITS)).status_code == 403
