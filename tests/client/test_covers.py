"""Whatever the service can be asked over HTTP, both clients can ask: compared with its OpenAPI document.

A new operation makes this fail until a client's method calls it, or `EXCEPTIONS` says why none does; so does
a parameter that no method sends. A new method needs an entry in `calls`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from lethe import AsyncClient, Client
from tests.client.calling import PATIENT
from tests.client.described import Service, openapi
from tests.client.samples import ID, resolved
from tests.client.scripted import KEY, ScriptedServer

EXCEPTIONS = {
    "metrics": "for Prometheus, which has a token of its own",
}
# A page is asked for with these by whoever asks for more than one page holds.
OF_PAGES = {"after", "limit"}
STREAMS = ("events", "job_events")
# (operation, parameter): what no method sends, and why.
UNSENT = {
    ("get_certificate", "format"): "a page for browsers",
}

MODEL: dict[str, Any] = {"dataset": "d", "network": {"kind": "mlp"}, "tasks": [], "recipe": {}}
ASKED: dict[str, Any] = {"tasks": "all", "regulation": "gdpr", "method": "retrain", "guarantee": "exact"}
IDENTITY = {"identity_type": "email", "identity_value": "a@b.c", "identity_format": "raw", "instances": ["a"]}
OPENDSR = {
    "regulation": "gdpr",
    "subject_request_id": "a7551968-d5d6-44b2-9831-815ac9017798",
    "subject_request_type": "erasure",
    "submitted_time": "2026-11-24T15:00:00Z",
    "subject_identities": [],
    "api_version": "2.0",
    "status_callback_urls": [],
    "extensions": {},
}
Given = tuple[tuple[Any, ...], dict[str, Any]]


def calls(folder: Path) -> dict[str, list[Given]]:
    """Every method, with everything that it takes."""

    def given(*args: Any, **kwargs: Any) -> Given:
        return args, kwargs

    weights = folder / "weights.safetensors"
    weights.write_bytes(b"weights")
    return {
        "register_dataset": [
            given("d", "file:///t", holdout_url="file:///h", format="arrays", refreshes="c")
        ],
        "get_dataset": [given("d")],
        "list_datasets": [given()],
        "wait_for_dataset": [given("d", timeout=0)],
        "register_model": [
            given("m", **MODEL, policy={}, checkpoint_url="file:///c", derived_from=("n", 1)),
        ],
        "upload_checkpoint": [given("m", weights)],
        "get_model": [given("m")],
        "list_models": [given()],
        "wait_for_model": [given("m", timeout=0)],
        "get_version": [given("m", 1)],
        "list_versions": [given("m")],
        "signature": [given("m", 1)],
        "refresh_data": [given("m", "d")],
        "list_aliases": [given("m")],
        "move_alias": [given("m", "champion", 1, reason="r")],
        "download": [given("m", 1, folder / "m.safetensors")],
        "request_deletion": [
            given(["a"], model="m", reference="r", metadata={}, idempotency_key="k", **ASKED),
            given([str(number) for number in range(5001)], dataset="d", **ASKED),
        ],
        "estimate": [given(["a"], model="m", **ASKED)],
        "get_request": [given(ID)],
        "list_requests": [given(model="m", status="queued", reference="r")],
        "wait": [given(ID, timeout=60)],
        "cancel": [given(ID)],
        "retry_request": [given(ID)],
        "approve_request": [given(ID, reason="r")],
        "reject_request": [given(ID, reason="r")],
        "acknowledge": [given(ID)],
        "extend": [given(ID, reason="r", notified_at="2026-11-20T09:00:00Z")],
        "history": [given(ID)],
        "events": [given(ID)],
        "certificate": [given(ID, statement="disposal")],
        "certificates": [given(ID)],
        "send_instances": [given(["a"])],
        "get_instance_list": [given(ID)],
        "forget_instance_list": [given(ID)],
        "get_job": [given(ID)],
        "list_jobs": [given(model="m", status="queued")],
        "approve": [given(ID, reason="r")],
        "reject": [given(ID, reason="r")],
        "retry": [given(ID)],
        "cancel_job": [given(ID)],
        "job_history": [given(ID)],
        "job_events": [given(ID)],
        "look_up": [given("d", ["a"])],
        "list_version_audits": [given("m", 1)],
        "get_version_audit": [given("m", 1, ID)],
        "signing_keys": [given()],
        "health": [given()],
        "readiness": [given()],
        "change_retention": [given("m", quarantine_after=7, delete_after=None)],
        "release_version": [given("m", 1, reason="r")],
        "place_hold": [given("m", reason="r", version=1)],
        "list_holds": [given("m")],
        "lift_hold": [given("m", ID, reason="r")],
        "destroy_model": [given("m", reason="r", confirmation="c")],
        "list_audit_entries": [given(after=3)],
        "audit_checkpoint": [given()],
        "export_audit": [given(folder / "audit.jsonl")],
        "create_key": [given("k", ["admin"], models=["m"], expires_in_days=30)],
        "list_keys": [given()],
        "rotate_key": [given(ID, overlap_hours=1, expires_in_days=30)],
        "revoke_key": [given(ID)],
        "create_webhook": [given("https://r.example/", events=["job.*"], description="d")],
        "list_webhooks": [given()],
        "get_webhook": [given(ID)],
        "change_webhook": [
            given(ID, url="https://r.example/", events=["*"], description="d", enabled=True),
        ],
        "delete_webhook": [given(ID)],
        "rotate_webhook_secret": [given(ID, previous_signs_hours=0)],
        "ping_webhook": [given(ID)],
        "list_deliveries": [given(ID, status="dead")],
        "resend_delivery": [given(ID, 1)],
        "resend_dead_letters": [given(ID)],
        "opendsr_discovery": [given(), given(stub=True)],
        "opendsr_certificate": [given()],
        "send_opendsr_request": [given(OPENDSR), given(OPENDSR, stub=True)],
        "get_opendsr_request": [given(ID), given(ID, stub=True)],
        "cancel_opendsr_request": [given(ID), given(ID, stub=True)],
        "advance_opendsr_stub": [given(ID)],
        "add_identities": [given("d", [IDENTITY])],
        "remove_identities": [given("d")],
    }


def takes(service: Service, name: str) -> set[str]:
    """What an operation takes, in its query and its body."""
    _, _, operation = service.operations[name]
    known = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        known |= set(resolved(content["schema"], service.document).get("properties", {}))
    return known - OF_PAGES


def assert_covered(service: Service) -> None:
    assert set(service.operations) - set(service.sent) == set(EXCEPTIONS)
    unsent = {(name, left) for name, sent in service.sent.items() for left in takes(service, name) - sent}
    assert unsent == set(UNSENT)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi()


def methods(client: type[Client] | type[AsyncClient]) -> set[str]:
    return {name for name in dir(client) if not name.startswith("_")} - {"close", "carry_out"}


def each_call(folder: Path) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    for name, made in calls(folder).items():
        for args, kwargs in made:
            yield name, args, kwargs


def test_every_operation_can_be_called(document: dict[str, Any], tmp_path: Path) -> None:
    service = Service(document)
    assert methods(Client) == set(calls(tmp_path))
    with ScriptedServer(script=service.answer) as server, Client(server.url, KEY, retries=PATIENT) as client:
        for name, args, kwargs in each_call(tmp_path):
            found = getattr(client, name)(*args, **kwargs)
            if name in STREAMS:
                list(found)
    assert_covered(service)


def test_the_documentation_names_every_method() -> None:
    documentation = Path(__file__).parents[2] / "docs" / "client.md"
    assert methods(Client) <= set(re.findall(r"`(\w+)`", documentation.read_text()))


def test_every_operation_can_be_awaited(document: dict[str, Any], tmp_path: Path) -> None:
    service = Service(document)
    assert methods(AsyncClient) == set(calls(tmp_path))

    async def make_all(url: str) -> None:
        async with AsyncClient(url, KEY, retries=PATIENT) as client:
            for name, args, kwargs in each_call(tmp_path):
                found = getattr(client, name)(*args, **kwargs)
                if name in STREAMS:
                    async for _ in found:
                        pass
                else:
                    await found

    with ScriptedServer(script=service.answer) as server:
        anyio.run(make_all, server.url)
    assert_covered(service)
