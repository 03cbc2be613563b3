"""Another tenant's things are exactly as absent as things that never were: on every route. And so are, for a
key that is limited to some models, the others."""

import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from app.core.settings import Settings
from app.main import ROUTERS
from models import Base
from models.row_security import columns
from tests.app.conftest import calling
from tests.app.test_audit import seal
from tests.app.test_models import GOOD
from tests.app.world import World
from tests.database import Database
from tests.opendsr.certificate import DOMAIN, write_certificate
from worker.audit.storing import store_report

pytestmark = pytest.mark.anyio

OPENDSR = "a7551968-d5d6-44b2-9831-815ac9017798"
UNKNOWN = "01890000-0000-7000-8000-000000000000"
NOWHERE = {"event_id": "987654321"}  # is no UUID
BODIES: dict[str, dict[str, object]] = {
    "PUT /v1/models/{model}/aliases/{alias}": {"version": 1},
    "POST /v1/jobs/{job_id}/approve": {"reason": "x"},
    "POST /v1/jobs/{job_id}/reject": {"reason": "x"},
    "POST /v1/datasets/{dataset}/identities": {
        "identities": [{"identity_type": "email", "identity_value": "a@b.c", "instances": ["scan-1"]}]
    },
    "POST /v1/api-keys/{key_id}/rotate": {},
    "PATCH /v1/webhooks/{webhook_id}": {"enabled": False},
    "POST /v1/webhooks/{webhook_id}/rotate-secret": {},
    "PUT /v1/models/{model}/dataset": {"dataset": "scans"},
    "PUT /v1/models/{model}/retention": {"quarantine_after": 1, "delete_after": 1},
    "POST /v1/models/{model}/versions/{version}/release": {"reason": "x"},
    "POST /v1/models/{model}/holds": {"reason": "x"},
    "POST /v1/models/{model}/holds/{hold_id}/lift": {"reason": "x"},
    "POST /v1/models/{model}/destroy": {"reason": "x"},
    "POST /v1/deletion-requests/{request_id}/approve": {"reason": "x"},
    "POST /v1/deletion-requests/{request_id}/reject": {"reason": "x"},
    "POST /v1/deletion-requests/{request_id}/extend": {"reason": "x", "notified_at": "2026-11-20T09:00:00Z"},
}
# In the namespace of what stands before it in the path.
FIXED = {"alias": "champion", "version": "1"}
# What stands behind another thing in the path, with an id of its own: tried behind the caller's own things.
BEHIND = ("audit_id", "event_id", "hold_id")

ERASURE = {
    "regulation": "gdpr",
    "subject_request_type": "erasure",
    "submitted_time": "2026-11-02T15:00:00Z",
    "subject_identities": [{"identity_type": "email", "identity_value": "a@b.c", "identity_format": "raw"}],
    "api_version": "2.0",
}
DATASET = {
    "name": "newer",
    "format": "arrays",
    "url": "file:///data/a.npz",
    "holdout_url": "file:///data/h.npz",
}
WANTED = {"instances": ["scan-1"], "tasks": "all"}
# What names another's things in the body, by a word that the test knows: each is refused as if it never was.
NAMING: dict[str, list[dict[str, Any]]] = {
    "POST /v1/deletion-requests": [
        WANTED | {"model": "{model}"},
        WANTED | {"dataset": "{dataset}"},
        {"model": "own", "tasks": "all", "instance_list": "{list_id}"},
    ],
    "POST /v1/lookups": [{"dataset": "{dataset}", "instances": ["scan-1"]}],
    "POST /v1/models": [
        GOOD | {"name": "new", "dataset": "{dataset}"},
        GOOD | {"name": "new", "dataset": "owns", "derived_from": {"model": "{model}", "version": 1}},
    ],
    "POST /v1/datasets": [DATASET | {"refreshes": "{dataset}"}],
    "POST /v1/api-keys": [{"name": "x", "scopes": ["models:read"], "models": ["{model}"]}],
}
# What gives or makes things of the caller's own, and names nothing.
OWN: dict[str, object] = {
    "GET /v1/models": None,
    "GET /v1/datasets": None,
    "GET /v1/deletion-requests": None,
    "GET /v1/jobs": None,
    "GET /v1/webhooks": None,
    "GET /v1/api-keys": None,
    "GET /v1/audit": None,
    "GET /v1/audit/checkpoint": None,
    "GET /v1/audit/export": None,
    "POST /v1/instance-lists": {"instances": ["a"]},
    "POST /v1/webhooks": {"url": "https://example.com/"},
    "POST /opendsr/v2/opendsr_requests": ERASURE,
    "POST /opendsr/v2/stub/opendsr_requests": ERASURE,
}
# For everybody, and about nobody.
PUBLIC = {
    "GET /",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /.well-known/lethe-signing-keys.json",
    "GET /opendsr/v2/certificate.pem",
    "GET /opendsr/v2/discovery",
    "GET /opendsr/v2/stub/discovery",
}
FORMER_NAMES = ("requests", "opengdpr_requests", "status")  # of an OpenDSR request


@pytest.fixture
def settings(
    settings: Settings, tmp_path: Path, database: Database, request: pytest.FixtureRequest
) -> Settings:
    """With `first_wall_alone`, the API speaks to the database as a superuser, who sees every row whatever its
    security: then nothing but the queries themselves keeps tenants apart."""
    if getattr(request, "param", "") == "first_wall_alone":
        settings = settings.model_copy(update={"database_url": SecretStr(database.owner_url)})
    key_file, certificate_file = write_certificate(tmp_path)
    configured = {"opendsr_key_file": str(key_file), "opendsr_certificate_file": str(certificate_file)}
    return settings.model_copy(update=configured | {"opendsr_domain": DOMAIN})


def _routes() -> list[tuple[str, str]]:
    """(method, path) of everything that is answered, documented or not."""
    return [
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods)
    ]


def test_every_route_has_a_case() -> None:
    for method, path in _routes():
        route = f"{method} {path}"
        known = "{" in path or route in NAMING or route in OWN or route in PUBLIC
        assert known or path.rsplit("/", 1)[1] in FORMER_NAMES, f"say what another tenant gets from {route}"


async def _things_of_mine(app: FastAPI, world: World, database: Database) -> dict[str, list[str]]:
    """What paths and bodies can name, by the name of the parameter."""
    world.ready_model("mine")
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
    erasure = ERASURE | {"subject_request_id": OPENDSR}
    async with calling(app, world.key("mine", "admin")) as mine:
        request = (await mine.post("/v1/deletion-requests", json=body)).json()
        listed = (await mine.post("/v1/instance-lists", json={"instances": ["a"]})).json()
        key_id = (await mine.get("/v1/api-keys")).json()["data"][0]["id"]
        models = (await mine.get("/v1/models/reader")).json()
        hook = (await mine.post("/v1/webhooks", json={"url": "https://example.com/"})).json()
        table = BODIES["POST /v1/datasets/{dataset}/identities"]
        assert (await mine.post("/v1/datasets/scans/identities", json=table)).status_code == 200
        erased = await mine.post("/opendsr/v2/opendsr_requests", json=erasure)
        assert erased.status_code == 201, erased.text
        hold = (await mine.post("/v1/models/reader/holds", json={"reason": "x"})).json()
        pinged = (await mine.post(f"/v1/webhooks/{hook['id']}/ping")).json()
    world.run("UPDATE webhook_deliveries SET status = 'dead', finished_at = now()")
    return {
        "audit_id": [_looked_at(world, database)],
        "event_id": [str(pinged["event"])],
        "hold_id": [hold["id"]],
        "model": ["reader", models["id"]],
        "dataset": ["scans", str(world.run("SELECT id FROM datasets"))],
        "request_id": [request["id"]],
        "job_id": [request["job"]],
        "list_id": [listed["id"]],
        "key_id": [key_id],
        "webhook_id": [hook["id"]],
        "subject_request_id": [OPENDSR],
    }


@pytest.mark.parametrize("settings", ["both_walls", "first_wall_alone"], indirect=True)
async def test_every_route_keeps_tenants_apart(
    app: FastAPI, world: World, database: Database, settings: Settings, subtests: pytest.Subtests
) -> None:
    theirs = await _things_of_mine(app, world, database)
    world.ready_model("other", "own", "owns")
    world.run("UPDATE tenants SET allowed_roots = '{file:///data/}'")
    seal(database, settings)
    before = _everything_of(world, "mine")
    ids = {str(world.tenant("mine")), *(names[-1] for names in theirs.values())}
    ids -= {OPENDSR, *theirs["event_id"]}  # which others may have, too
    async with calling(app, world.key("other", "admin")) as other:
        table = BODIES["POST /v1/datasets/{dataset}/identities"]
        assert (await other.post("/v1/datasets/owns/identities", json=table)).status_code == 200
        hook = (await other.post("/v1/webhooks", json={"url": "https://example.com/"})).json()
        own = {"model": "own", "webhook_id": hook["id"]}
        for method, path in _routes():
            route = f"{method} {path}"
            if "{" in path:
                subject, *behind = _parameters(path)
                for name in theirs[subject]:
                    with subtests.test(f"{route} {name}"):
                        found = await _call(other, method, path, {subject: name}, theirs)
                        unknown = await _call(other, method, path, {subject: UNKNOWN}, theirs)
                        assert found.status_code == unknown.status_code == 404
                        assert _shape(found, name) == _shape(unknown, UNKNOWN)
                for second in set(behind) - set(FIXED):
                    assert second in BEHIND, f"say what stands behind one's own in {route}"
                    with subtests.test(f"{route} behind {own[subject]}"):
                        [name], nowhere = theirs[second], NOWHERE.get(second, UNKNOWN)
                        named = {subject: own[subject]}
                        found = await _call(other, method, path, named | {second: name}, theirs)
                        unknown = await _call(other, method, path, named | {second: nowhere}, theirs)
                        assert found.status_code == unknown.status_code == 404
                        there, absent = _shape(found, name), _shape(unknown, nowhere)
                        assert there | {"instance": ""} == absent | {"instance": ""}
                        assert there["code"] not in ("model_not_found", "webhook_not_found")
            for body in NAMING.get(route, []):
                (subject,) = [each for each in theirs if "{" + each + "}" in str(body)]
                word = "{" + subject + "}"
                for name in theirs[subject]:
                    with subtests.test(f"{route} {body} {name}"):
                        found, unknown = [
                            await other.request(
                                method, path, json=json.loads(json.dumps(body).replace(word, n))
                            )
                            for n in (name, UNKNOWN)
                        ]
                        assert found.status_code == unknown.status_code >= 400, found.text
                        assert _shape(found, name) == _shape(unknown, UNKNOWN)
            if route in OWN:
                with subtests.test(route):
                    sent = OWN[route]
                    if isinstance(sent, dict) and "opendsr" in path:
                        sent = sent | {"subject_request_id": str(uuid.uuid4())}
                    answer = await other.request(method, path, json=sent)
                    assert answer.is_success, answer.text
                    assert not [each for each in ids if each in answer.text]
        for name in ("deletion-requests", "jobs"):
            for found in theirs["model"]:
                answers = [
                    await other.get(f"/v1/{name}", params={"model": each}) for each in (found, UNKNOWN)
                ]
                assert answers[0].status_code == answers[1].status_code
                assert _shape(answers[0], found) == _shape(answers[1], UNKNOWN)
        after = {"after": theirs["request_id"][0]}
        assert (await other.get("/v1/deletion-requests", params=after)).json()["data"] == []
    assert _everything_of(world, "mine") == before


def _parameters(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _looked_at(world: World, database: Database) -> str:
    """An audit of a version, as the command stores it."""
    engine = create_engine(database.worker_url)
    with Session(engine) as session, session.begin():
        version = world.run("SELECT id FROM model_versions WHERE number = 1")
        stored = store_report(session, version, {"findings": ["one"], "tasks": {"digit": {"auc": 0.5}}})
    engine.dispose()
    return str(stored)


async def _call(
    client: httpx.AsyncClient, method: str, path: str, named: dict[str, str], theirs: dict[str, list[str]]
) -> httpx.Response:
    """What is not named is another's."""
    url = path
    for parameter in _parameters(path):
        value = named.get(parameter) or FIXED.get(parameter) or theirs[parameter][0]
        url = url.replace("{" + parameter + "}", value)
    body = BODIES.get(f"{method} {path}")
    if method == "PUT" and body is None:
        return await client.request(method, url, content=b"weights")
    return await client.request(method, url, json=body)


def _shape(answer: httpx.Response, name: str) -> dict[str, object]:
    if not answer.content:
        return {}
    body: dict[str, object] = answer.json()
    return {key: str(value).replace(name, "<name>") for key, value in body.items() if key != "request_id"}


def _everything_of(world: World, tenant: str) -> dict[str, list[object]]:
    """Every row; of the keys, not when they were last used."""
    bound = {"t": world.tenant(tenant)}
    rows = {}
    for table, column in columns().items():
        listed = ", ".join(
            each.name for each in Base.metadata.tables[table].columns if each.name != "last_used_at"
        )
        rows[table] = world.rows(f"SELECT {listed} FROM {table} WHERE {column} = :t ORDER BY 1, 2", **bound)
    return rows


async def test_a_key_that_is_limited_to_models_finds_no_others(
    app: FastAPI, world: World, database: Database, subtests: pytest.Subtests
) -> None:
    others = await _things_of_mine(app, world, database)
    world.ready_model("mine", "own", "scans")
    every = world.key("mine", "admin")
    scopes = ["requests:write", "requests:read", "models:write", "models:read"]
    async with calling(app, every) as admin:
        body = {"name": "own", "scopes": scopes, "models": ["own"]}
        made = await admin.post("/v1/api-keys", json=body)
        assert (made.status_code, made.json()["models"]) == (201, ["own"])
        again = {"Idempotency-Key": "once"}
        sent = WANTED | {"model": "reader"}
        assert (await admin.post("/v1/deletion-requests", json=sent, headers=again)).is_success
        parent = (await admin.post("/v1/deletion-requests", json=WANTED | {"dataset": "scans"})).json()
    named = ("model", "request_id", "job_id", "key_id", "webhook_id", "hold_id", "audit_id")
    secret = {name for kind in named for name in others[kind]}
    before = {table: world.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("jobs", "model_tasks")}
    async with calling(app, made.json()["key"]) as own:
        for method, path in _routes():
            subject, route = (_parameters(path) or [""])[0], f"{method} {path}"
            if subject in ("", "dataset", "list_id"):  # data sets and lists are the tenant's
                for name in others.get(subject, [""]):
                    with subtests.test(f"{route} {name} tells of no other model"):
                        url = path.replace("{" + subject + "}", name)
                        answer = await own.request(method, url, json=OWN.get(route))
                        assert answer.status_code < 500
                        assert not [each for each in secret if each in answer.text], answer.text
                continue
            for name in others[subject]:
                with subtests.test(f"{route} {name}"):
                    answer = await _call(own, method, path, {subject: name}, others)
                    if subject not in ("model", "request_id", "job_id") or answer.status_code == 403:
                        assert answer.status_code == 403
                        assert answer.json()["code"] in ("scope_missing", "key_limited_to_models")
                    else:
                        assert answer.status_code == 404
                        unknown = await _call(own, method, path, {subject: UNKNOWN}, others)
                        assert _shape(answer, name) == _shape(unknown, UNKNOWN)
        for name in others["model"]:
            refused = await own.post("/v1/deletion-requests", json=WANTED | {"model": name})
            assert (refused.status_code, refused.json()["code"]) == (404, "model_not_found")
            for listed in ("deletion-requests", "jobs"):
                answers = [await own.get(f"/v1/{listed}", params={"model": each}) for each in (name, UNKNOWN)]
                assert _shape(answers[0], name) == _shape(answers[1], UNKNOWN)
        assert (await own.get(f"/v1/deletion-requests/{parent['id']}")).status_code == 404
        for table, rows in before.items():
            assert world.rows(f"SELECT * FROM {table} ORDER BY 1, 2") == rows
        for route, (status, body) in {
            "POST /v1/models": (403, GOOD | {"name": "new"}),
            "POST /v1/datasets": (403, DATASET),
            "POST /v1/datasets/scans/identities": (403, BODIES["POST /v1/datasets/{dataset}/identities"]),
            "POST /opendsr/v2/opendsr_requests": (403, ERASURE),
            "POST /v1/deletion-requests": (403, WANTED | {"dataset": "scans"}),
        }.items():
            with subtests.test(route):
                answer = await own.request(*route.split(), json=body)
                assert (answer.status_code, answer.json()["code"]) == (status, "key_limited_to_models")
                assert answer.json()["models"] == [
                    str(world.run("SELECT id FROM registered_models WHERE name = 'own'"))
                ]
        # Not even the answer that somebody else's same request got.
        replayed = await own.post("/v1/deletion-requests", json=sent, headers=again)
        assert replayed.json()["code"] == "idempotency_key_reused"
        wanted = {"instances": ["scan-2"], "tasks": ["digit"], "model": "own"}
        mine = await own.post("/v1/deletion-requests", json=wanted)
        assert mine.status_code == 202, mine.text
        assert [row["name"] for row in (await own.get("/v1/models")).json()["data"]] == ["own"]
        assert len((await own.get("/v1/deletion-requests")).json()["data"]) == 1
        listed = (await own.get("/v1/deletion-requests?model=own")).json()["data"]
        assert [row["id"] for row in listed] == [mine.json()["id"], parent["children"][1]]
        assert [row["model"] for row in (await own.get("/v1/jobs")).json()["data"]] == ["own"]
    async with calling(app, every) as admin:
        key = {"name": "x", "scopes": ["audit:read"], "models": ["own"]}
        for change, code in (
            ({}, "scope_not_of_models"),
            ({"models": ["no"], "scopes": scopes}, "model_not_found"),
        ):
            assert (await admin.post("/v1/api-keys", json=key | change)).json()["code"] == code
