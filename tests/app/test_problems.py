"""Every error is a problem, and every answer carries the request's id."""

import re

import httpx
import pytest
from psycopg.errors import IdleInTransactionSessionTimeout
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError

from app.core import problems
from tests.app.running import Serving
from tests.app.world import World

pytestmark = pytest.mark.anyio
PATH = "/v1/deletion-requests"
JSON = {"Content-Type": "application/json"}


def check_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    problem = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:lethe:problem:{code}"
    assert problem["title"]
    assert problem["detail"].endswith(".")
    assert problem["request_id"] == answer.headers["x-request-id"]


async def test_bodies_that_cannot_be_read(client: httpx.AsyncClient, subtests: pytest.Subtests) -> None:
    cases: dict[str, tuple[bytes, int, str]] = {
        "half an object": (b'{"model": ', 400, "malformed_json"),
        "not UTF-8": (b'{"model": "\xff"}', 400, "malformed_json"),
        "nested without end": (b"[" * 200_000, 400, "malformed_json"),
        "a number without end": (b'{"model": ' + b"9" * 10_000 + b"}", 400, "malformed_json"),
        "not an object": (b"[1, 2]", 422, "validation_error"),
        "nothing": (b"", 422, "validation_error"),
        "null": (b"null", 422, "validation_error"),
        "not a number": (
            b'{"model": "m", "tasks": "all", "instances": ["a"], "metadata": {"x": NaN}}',
            422,
            "validation_error",
        ),
        "half a character": (
            b'{"model": "m", "tasks": "all", "instances": ["\\ud800"]}',
            422,
            "validation_error",
        ),
        "half a character in metadata": (
            b'{"model": "m", "tasks": "all", "instances": ["a"], "metadata": {"x": "\\ud800"}}',
            422,
            "validation_error",
        ),
        "half a character in a field's name": (
            b'{"model": "m", "tasks": "all", "instances": ["a"], "\\ud800": 1}',
            422,
            "validation_error",
        ),
    }
    for name, (content, status, code) in cases.items():
        with subtests.test(name):
            check_problem(await client.post(PATH, content=content, headers=JSON), status, code)


async def test_validation_names_the_place_and_not_the_value(client: httpx.AsyncClient) -> None:
    body = {"model": "m", "tasks": "all", "instances": ["fine", ["jane.doe"]], "extra": "jane.doe"}
    answer = await client.post(PATH, json=body)
    check_problem(answer, 422, "validation_error")
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert sorted(pointers) == ["/extra", "/instances/1"]
    assert "jane.doe" not in answer.text
    many = await client.post(PATH, json=body | {"instances": [None] * 5000})
    assert len(many.json()["errors"]) == problems.MAX_FIELD_ERRORS
    unclear = await client.post(PATH, json={"model": "m", "instances": ["a"], "tasks": {"all": True}})
    told = {error["pointer"]: error["detail"] for error in unclear.json()["errors"]}
    assert told == {"/tasks": "Input should be 'all'; or: Input should be a valid list"}
    missing = await client.post(PATH, json={"model": "m", "instances": ["a"]})
    assert [error["pointer"] for error in missing.json()["errors"]] == ["/tasks"]
    parameter = await client.get(PATH, params={"limit": "many"})
    assert parameter.json()["errors"][0]["parameter"] == "limit"


async def test_paths_and_methods_that_do_not_exist(client: httpx.AsyncClient) -> None:
    check_problem(await client.get("/v2/models"), 404, "unknown_path")
    answer = await client.patch("/v1/models")
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"
    assert (await client.post("/docs/assets/x.js")).headers["allow"] == "GET, HEAD"
    check_problem(await client.get(f"{PATH}/x"), 422, "validation_error")


async def test_request_ids(client: httpx.AsyncClient, world: World) -> None:
    world.ready_model()
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
    sent = await client.post(PATH, json=body, headers={"X-Request-ID": "trace-42"})
    assert sent.headers["x-request-id"] == "trace-42"
    assert world.run("SELECT http_request_id FROM deletion_requests") == "trace-42"
    assert world.run("SELECT http_request_id FROM jobs") == "trace-42"
    assert world.run("SELECT request_id FROM audit_log WHERE request_id IS NOT NULL") == "trace-42"
    for strange in ("", "a b", "x" * 129, "a\tb", 'x"y'):
        answer = await client.get("/healthz", headers={"X-Request-ID": strange})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_bodies_that_are_too_large(served: Serving, world: World) -> None:
    headers = {"Authorization": f"Bearer {world.key('acme', 'admin')}", **JSON}
    chunk = b" " * 1_000_000

    async def endless():  # type: ignore[no-untyped-def]
        for _ in range(100):
            yield chunk

    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=20) as client:
        for content in (endless(), chunk * 40):
            try:
                answer = await client.post(PATH, content=content)
            except (httpx.WriteError, httpx.ReadError):
                continue  # the server answered and hung up while we were still sending
            check_problem(answer, 413, "body_too_large")


async def test_an_unknown_error_tells_nothing_but_its_id(
    client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.registered_models import repository

    async def breaks(*_: object) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(repository, "page", breaks)
    answer = await client.get("/v1/models")
    check_problem(answer, 500, "internal_error")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT 1", {}, Exception("gone")),
        InternalError("SELECT 1", {}, IdleInTransactionSessionTimeout("ended")),
    ],
)
async def test_a_database_that_is_away(
    error: DBAPIError, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.registered_models import repository

    async def breaks(*_: object) -> None:
        raise error

    monkeypatch.setattr(repository, "page", breaks)
    answer = await client.get("/v1/models")
    check_problem(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"]
