"""OpenDSR as a controller sees it: discovery, erasure, status, cancellation, signed callbacks."""

import base64
import hashlib
import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from fastapi import FastAPI

from app.core.settings import Settings
from app.relay.courier import Courier
from app.webhooks.retrying import MOST_ATTEMPTS
from tests.app.conftest import calling
from tests.app.world import World
from tests.opendsr.conftest import DOMAIN
from tests.webhooks.receiver import Receiver, status
from tests.worker.processes import wait_until

pytestmark = pytest.mark.anyio

V2 = "/opendsr/v2"
REQUESTS = f"{V2}/opendsr_requests"
JANE = {"identity_type": "email", "identity_value": "Jane@Example.com ", "identity_format": "raw"}


def erasure(**changes: Any) -> dict[str, Any]:
    return {
        "regulation": "gdpr",
        "subject_request_id": str(uuid.uuid4()),
        "subject_request_type": "erasure",
        "submitted_time": "2026-11-02T15:00:00Z",
        "subject_identities": [JANE],
        "api_version": "2.0",
    } | changes


async def upload(client: httpx.AsyncClient, *instances: str, **row: str) -> None:
    sent = {"identities": [JANE | row | {"instances": list(instances)}]}
    answer = await client.post("/v1/datasets/scans/identities", json=sent)
    assert answer.status_code == 200, answer.text


async def verify(client: httpx.AsyncClient, headers: Any, body: bytes) -> None:
    """As a controller does, from what discovery says. Raises `InvalidSignature`."""
    found = (await client.get(f"{V2}/discovery")).json()
    pem = (await client.get("/" + found["processor_certificate"].split("/", 3)[3])).content
    key = load_pem_x509_certificate(pem).public_key()
    assert isinstance(key, RSAPublicKey)
    assert headers["x-opendsr-processor-domain"] == headers["x-opengdpr-processor-domain"] == DOMAIN
    key.verify(base64.b64decode(headers["x-opendsr-signature"]), body, PKCS1v15(), SHA256())


async def test_an_erasure_is_a_deletion_request_and_its_status_follows(
    client: httpx.AsyncClient, world: World, receiver: Receiver, courier: Courier
) -> None:
    world.ready_model()
    await upload(client, "scan-1", "scan-2")
    sent = erasure(status_callback_urls=[receiver.url])
    body = json.dumps(sent).encode()
    answer = await client.post(REQUESTS, content=body)
    assert answer.status_code == 201, answer.text
    await verify(client, answer.headers, answer.content)
    made = answer.json()
    assert base64.b64decode(made["encoded_request"]) == body
    assert made["controller_id"] == str(world.tenant("acme"))
    assert made["expected_completion_time"] == "2026-12-02T15:00:00.000000Z"  # from submitted_time
    at = f"{REQUESTS}/{sent['subject_request_id']}"
    assert (await client.get(at)).json()["request_status"] == "pending"
    [request] = (await client.get("/v1/deletion-requests")).json()["data"]
    assert (request["instance_count"], request["reference"]) == (2, sent["subject_request_id"])
    assert (request["regulation"], request["due_at"]) == ("gdpr", made["expected_completion_time"])
    [child] = request["children"]
    job = (await client.get(f"/v1/deletion-requests/{child}")).json()["job"]
    wait_until(lambda: len(receiver.received) == 1)
    world.claim(job)
    courier.wake()
    wait_until(lambda: len(receiver.received) == 2)
    assert (await client.delete(at)).status_code == 400
    world.publish(job)
    courier.wake()
    wait_until(lambda: len(receiver.received) == 3)
    told = [json.loads(one.body) for one in receiver.received]
    assert [one["request_status"] for one in told] == ["pending", "in_progress", "completed"]
    for one in receiver.received:
        await verify(client, one.headers, one.body)
    assert {one["status_callback_url"] for one in told} == {receiver.url}
    assert b"ane@" not in b"".join(one.body.lower() for one in receiver.received)
    wait_until(lambda: world.run("SELECT told_status FROM opendsr_callbacks") == "completed")
    assert world.run("SELECT count(*) FROM instance_lists") == 0
    assert "jane" not in world.run("SELECT string_agg(to_jsonb(r)::text, '') FROM opendsr_requests r").lower()


@pytest.mark.parametrize(
    "identities",
    [
        [JANE],
        [JANE | {"identity_value": "jane@example.com"}],
        [
            JANE
            | {"identity_format": "sha256", "identity_value": hashlib.sha256(b"jane@example.com").hexdigest()}
        ],
        [
            JANE
            | {
                "identity_format": "md5",
                "identity_value": hashlib.md5(b"jane@example.com").hexdigest().upper(),
            }
        ],
        {"email": {"value": "JANE@example.com", "encoding": "raw"}},
        {"email": {"value": hashlib.sha1(b"jane@example.com").hexdigest(), "encoding": "sha1"}},
        {"android_id": {"value": "nobody's"}, "email": {"value": "jane@example.com"}},
    ],
    ids=["as-uploaded", "normal", "sha256", "md5-upper", "dictionary", "dictionary-sha1", "one-of-two"],
)
async def test_both_shapes_and_all_formats_find_the_same_person(
    client: httpx.AsyncClient, world: World, identities: Any
) -> None:
    world.ready_model()
    await upload(client, "scan-1", "scan-2")
    answer = await client.post(REQUESTS, json=erasure(subject_identities=identities))
    assert answer.status_code == 201, answer.text
    named = world.rows("SELECT instance_hash FROM deletion_request_items ORDER BY 1")
    assert [bytes(row[0]) for row in named] == sorted(world.hashes("acme", ["scan-1", "scan-2"]))


async def test_the_extension_of_this_processor_names_model_and_tasks(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    await upload(client, "scan-3")
    ours = {"model": "reader", "tasks": ["digit"], "method": "retrain"}
    others = {"opendsr.another.example": {"anything": [1, 2]}}
    sent = erasure(extensions={DOMAIN: ours} | others, regulation="ccpa")
    assert (await client.post(REQUESTS, json=sent)).status_code == 201
    [request] = (await client.get("/v1/deletion-requests")).json()["data"]
    assert (request["model"], request["tasks"], request["method"]) == ("reader", ["digit"], "retrain")
    direct = erasure(subject_identities=[], extensions={DOMAIN: {"model": "reader", "instances": ["scan-4"]}})
    assert (await client.post(REQUESTS, json=direct)).status_code == 201


async def test_who_stands_for_nothing_is_done_at_once(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    sent = erasure()
    refused = await client.post(REQUESTS, json=sent)
    assert refused.status_code == 400, "without a table nobody can be taken for unknown"
    assert "identities" in refused.text
    assert world.run("SELECT count(*) FROM opendsr_requests") == 0
    await upload(client, "scan-1", identity_value="somebody@else.com")
    assert (await client.post(REQUESTS, json=sent)).status_code == 201
    told = (await client.get(f"{REQUESTS}/{sent['subject_request_id']}")).json()
    assert (told["request_status"], told["results_count"]) == ("completed", 0)
    assert world.run("SELECT count(*) FROM deletion_requests") == 0


async def test_the_same_body_again_is_the_same_request_and_another_is_refused(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    await upload(client, "scan-1")
    sent = erasure()
    first, again = [(await client.post(REQUESTS, json=sent)) for _ in range(2)]
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert world.run("SELECT count(*) FROM deletion_requests WHERE parent_id IS NULL") == 1
    other = await client.post(REQUESTS, json=sent | {"regulation": "ccpa"})
    assert (other.status_code, other.json()["code"]) == (400, "subject_request_id_reused")


async def test_a_pending_request_can_be_cancelled_under_each_of_its_names(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    await upload(client, "scan-1")
    for name in ("opendsr_requests", "requests", "opengdpr_requests"):
        sent = erasure()
        assert (await client.post(f"{V2}/{name}", json=sent)).status_code == 201
        gone = await client.delete(f"{V2}/{name}/{sent['subject_request_id']}")
        assert gone.status_code == 202
        await verify(client, gone.headers, gone.content)
        told = (await client.get(f"{V2}/status/{sent['subject_request_id']}")).json()
        assert told["request_status"] == "cancelled"
    assert world.run("SELECT count(*) FROM deletion_requests WHERE status NOT IN ('cancelled')") == 0


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"subject_request_id": "7c9e6679-7425-11e7-944b-e07fc1f90ae7"}, "validation_error"),  # version 1
    ({"subject_request_id": "A7551968-D5D6-44B2-9831-815AC9017798"}, "validation_error"),
    ({"subject_request_type": "access"}, "validation_error"),
    ({"submitted_time": "2026-11-02T15:00:00"}, "validation_error"),  # of which zone?
    ({"submitted_time": "2999-01-01T00:00:00Z"}, "validation_error"),
    ({"submitted_time": "0001-01-01T00:00:00+14:00"}, "validation_error"),
    ({"submitted_time": "9999-12-31T23:59:59-14:00"}, "validation_error"),
    ({"extensions": {DOMAIN: {"dataset": "a\x00b"}}}, "dataset_not_found"),
    ({"regulation": "lex-futura"}, "unknown_regulation"),
    ({"subject_identities": []}, "no_identities"),
    ({"subject_identities": {"email": "jane@example.com"}}, "validation_error"),
    ({"subject_identities": [JANE | {"identity_type": "shoe_size"}]}, "validation_error"),
    ({"subject_identities": [JANE | {"identity_format": "sha256"}]}, "validation_error"),
    ({"status_callback_urls": ["https://10.0.0.1/"]}, "receiver_not_allowed"),
    ({"extensions": {DOMAIN: {"modle": "reader"}}}, "validation_error"),
    ({"extensions": {DOMAIN: {"model": "nobody"}}}, "model_not_found"),
    ({"extensions": {DOMAIN: {"instances": ["jane-of-scans"]}}}, "unknown_instance"),
]


async def test_refusals_say_400_in_the_words_of_the_specification_and_nothing_of_the_person(
    client: httpx.AsyncClient, world: World, subtests: pytest.Subtests
) -> None:
    world.ready_model()
    for change, code in REFUSED:
        with subtests.test(str(change)):
            answer = await client.post(REQUESTS, json=erasure(**change))
            assert (answer.status_code, answer.json()["code"]) == (400, code)
            error = answer.json()["error"]
            assert error["code"] == 400
            assert error["message"]
            assert error["errors"][0]["reason"] == code
            assert "jane" not in answer.text.lower()
    assert world.run("SELECT count(*) FROM opendsr_requests") == 0


async def test_a_callback_that_fails_is_sent_again_and_tells_what_is_true_then(
    client: httpx.AsyncClient, world: World, receiver: Receiver, courier: Courier
) -> None:
    world.ready_model()
    await upload(client, "scan-1")
    receiver.answer = status(503)
    sent = erasure(status_callback_urls=[receiver.url])
    await client.post(REQUESTS, json=sent)
    wait_until(lambda: world.run("SELECT last_error FROM opendsr_callbacks") == "http_503")
    assert (await client.delete(f"{REQUESTS}/{sent['subject_request_id']}")).status_code == 202
    receiver.answer = status(202)
    world.run("UPDATE opendsr_callbacks SET next_attempt_at = now()")
    courier.wake()
    wait_until(lambda: world.run("SELECT told_status FROM opendsr_callbacks") == "cancelled")
    assert json.loads(receiver.received[-1].body)["request_status"] == "cancelled"


async def test_a_callback_under_way_stays_its_courier_s(
    client: httpx.AsyncClient, world: World, receiver: Receiver, settings: Settings
) -> None:
    """However long the receiver takes, and though another relay looks for what is lost."""
    world.ready_model()
    await upload(client, "scan-1")
    go_on = threading.Event()

    def hold(handler: BaseHTTPRequestHandler, nth: int) -> None:
        go_on.wait(60)
        status(202)(handler, nth)

    receiver.answer = hold
    await client.post(REQUESTS, json=erasure(status_callback_urls=[receiver.url]))
    patient = Settings(**settings.model_dump() | {"webhook_total_seconds": 60.0, "lease_seconds": 3.0})
    couriers = [Courier(patient), Courier(patient)]
    for courier in couriers:
        courier.start()
    try:
        wait_until(lambda: len(receiver.received) == 1)
        taken = "SELECT claim, next_attempt_at AS due FROM opendsr_callbacks"
        [(claim, due)] = world.rows(taken)
        wait_until(lambda: world.run("SELECT now() > :due", due=due))
        [(still, later)] = world.rows(taken)
        assert still == claim
        assert later > due
        go_on.set()
        wait_until(lambda: world.run("SELECT told_status FROM opendsr_callbacks") == "pending")
        assert len(receiver.received) == 1
    finally:
        go_on.set()
        for courier in couriers:
            courier.stop(10)


async def test_stubs_call_back_and_delete_nothing(
    client: httpx.AsyncClient, world: World, receiver: Receiver, courier: Courier
) -> None:
    world.ready_model()
    await upload(client, "scan-1")
    stubs = f"{V2}/stub/opendsr_requests"
    sent = erasure(status_callback_urls=[receiver.url])
    assert (await client.post(stubs, json=sent)).status_code == 201
    at = f"{stubs}/{sent['subject_request_id']}"
    for number, expected in enumerate(("pending", "in_progress", "completed"), start=1):
        courier.wake()
        wait_until(lambda number=number: len(receiver.received) == number)
        assert json.loads(receiver.received[-1].body)["request_status"] == expected
        assert (await client.get(at)).json()["request_status"] == expected
        moved = await client.post(f"{at}/advance")
        assert moved.status_code == (200 if expected != "completed" else 400)
    assert (await client.get(f"{REQUESTS}/{sent['subject_request_id']}")).status_code == 404
    assert world.run("SELECT count(*) FROM deletion_requests") == 0


async def test_another_tenant_sees_nothing_and_changes_nothing(
    app: FastAPI, client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    await upload(client, "scan-1")
    sent = erasure()
    await client.post(REQUESTS, json=sent)
    world.ready_model("other")
    async with calling(app, world.key("other", "admin")) as other:
        at = f"{REQUESTS}/{sent['subject_request_id']}"
        unknown = f"{REQUESTS}/{uuid.uuid4()}"
        for method in ("GET", "DELETE"):
            found, absent = await other.request(method, at), await other.request(method, unknown)
            assert found.status_code == absent.status_code == 404
            assert found.json()["code"] == absent.json()["code"]
        await upload(other, "scan-2", identity_value="somebody@else.com")
        # The same id and the same person: a request of their own, which finds nothing of the first one's.
        assert (await other.post(REQUESTS, json=sent)).status_code == 201
        assert (await other.get(at)).json()["results_count"] == 0
    assert (await client.get(at)).json()["request_status"] == "pending"
    async with calling(app, world.key("acme", "requests:read")) as reader:
        assert (await reader.post(REQUESTS, json=erasure())).status_code == 403
        assert (await reader.get(at)).status_code == 200


async def test_the_operators_resolver_is_asked_in_place_of_the_table(
    app: FastAPI, client: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    world.ready_model()

    def resolve(handler: BaseHTTPRequestHandler, nth: int) -> None:
        body = b'{"instances": ["scan-5", "scan-6", "scan-5"]}' if nth == 0 else b'{"instances": "all"}'
        handler.send_response(200)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with Receiver(resolve) as resolver:
        app.state.settings = Settings(
            **settings.model_dump()
            | {"opendsr_resolver_url": resolver.url, "opendsr_resolver_token": "operators-own"}
        )
        assert (await client.post(REQUESTS, json=erasure())).status_code == 201
        [request] = (await client.get("/v1/deletion-requests")).json()["data"]
        assert request["instance_count"] == 2
        asked = resolver.received[0]
        assert asked.headers["authorization"] == "Bearer operators-own"
        assert json.loads(asked.body) == {
            "dataset": "scans",
            "identities": [JANE | {"identity_value": "jane@example.com"}],
        }
        nonsense = await client.post(REQUESTS, json=erasure())
    away = await client.post(REQUESTS, json=erasure())
    for refused in (nonsense, away):
        assert (refused.status_code, refused.json()["code"]) == (503, "resolver_unavailable")
    assert world.run("SELECT count(*) FROM opendsr_requests") == 1


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"instances": ["scan-5", 5, "5"], "more": 1}', ["unknown_instance", 400]),
        (b'{"instances": []}', ["completed", 201]),
        (b'{"instances": [true]}', ["resolver_unavailable", 503]),
        (b'{"instances": [""]}', ["resolver_unavailable", 503]),
        (b'{"instances": ["\\ud800"]}', ["resolver_unavailable", 503]),
        (b'{"instances": ["' + b"x" * 300 + b'"]}', ["resolver_unavailable", 503]),
        (b'{"instances": ' + b"[" * 100_000, ["resolver_unavailable", 503]),
        (b'["instances"]', ["resolver_unavailable", 503]),
        (b"9" * 5000, ["resolver_unavailable", 503]),
        (b"\xff\x00", ["resolver_unavailable", 503]),
        (b"", ["resolver_unavailable", 503]),
    ],
    ids=str,
)
async def test_whatever_the_resolver_answers_the_controller_is_not_told_to_mend_it(
    app: FastAPI, client: httpx.AsyncClient, world: World, settings: Settings, body: bytes, outcome: list[Any]
) -> None:
    world.ready_model()

    def resolve(handler: BaseHTTPRequestHandler, nth: int) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with Receiver(resolve) as resolver:
        app.state.settings = Settings(**settings.model_dump() | {"opendsr_resolver_url": resolver.url})
        sent = erasure()
        answer = await client.post(REQUESTS, json=sent)
    told = answer.json()
    if answer.status_code == 201:
        told = (await client.get(f"{REQUESTS}/{sent['subject_request_id']}")).json()
    assert [told.get("code", told.get("request_status")), answer.status_code] == outcome
    assert world.run("SELECT count(*) FROM deletion_requests") == 0


async def test_a_resolver_that_sends_on_is_not_followed(
    app: FastAPI, client: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    """Its token would go where it points."""
    world.ready_model()
    with Receiver() as elsewhere, Receiver(status(307, location=elsewhere.url)) as resolver:
        token = {"opendsr_resolver_url": resolver.url, "opendsr_resolver_token": "operators-own"}
        app.state.settings = Settings(**settings.model_dump() | token)
        assert (await client.post(REQUESTS, json=erasure())).json()["code"] == "resolver_unavailable"
        assert (len(resolver.received), elsewhere.received) == (1, [])


@pytest.mark.parametrize("code", [410, 500])
async def test_a_callback_is_given_up_at_once_when_it_is_gone_and_else_after_ten_attempts(
    client: httpx.AsyncClient, world: World, receiver: Receiver, courier: Courier, code: int
) -> None:
    world.ready_model()
    await upload(client, "scan-1")
    receiver.answer = status(code)
    await client.post(REQUESTS, json=erasure(status_callback_urls=[receiver.url]))
    attempts = 1 if code == 410 else MOST_ATTEMPTS
    for attempt in range(1, attempts + 1):
        wait_until(lambda attempt=attempt: world.run("SELECT attempts FROM opendsr_callbacks") == attempt)
        world.run("UPDATE opendsr_callbacks SET next_attempt_at = now()")
        courier.wake()
    assert world.run("SELECT given_up_at IS NOT NULL FROM opendsr_callbacks")
    assert len(receiver.received) == attempts


async def test_without_a_certificate_there_is_no_door(app: FastAPI, client: httpx.AsyncClient) -> None:
    app.state.opendsr_signer = None
    answer = await client.get(f"{V2}/discovery")
    assert (answer.status_code, answer.json()["code"]) == (404, "opendsr_not_configured")


async def test_tables_take_known_instances_only_and_keep_no_names(
    client: httpx.AsyncClient, world: World
) -> None:
    world.ready_model()
    sent = {"identities": [JANE | {"instances": ["scan-1", "nobody"]}]}
    refused = await client.post("/v1/datasets/scans/identities", json=sent)
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_instance")
    absent = await client.post("/v1/datasets/a%00b/identities", json=sent)
    assert (absent.status_code, absent.json()["code"]) == (404, "dataset_not_found")
    await upload(client, "scan-1")
    again = await client.post(
        "/v1/datasets/scans/identities", json={"identities": [JANE | {"instances": ["scan-1"]}]}
    )
    assert again.json() == {"added": 0}
    assert (await client.delete("/v1/datasets/scans/identities")).json() == {"removed": 3}
