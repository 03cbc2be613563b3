"""Asking again where it helps, and never where it could do a thing twice."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from lethe import LetheError, errors
from lethe.plan import Answer, NoAnswer
from lethe.retrying import Retries, retry_after
from tests.client.calling import Call, at_once, awaited
from tests.client.scripted import KEY, Reply, ScriptedServer, problem, said

REQUEST: dict[str, Any] = {
    "id": "0198c0de-0000-7000-8000-000000000001",
    "model": "m",
    "dataset": "d",
    "status": "queued",
    "tasks": ["depth"],
    "scope": "partial",
    "method": "retrain",
    "instance_count": 1,
    "metadata": {},
    "created_at": "2026-11-24T10:00:00.000000Z",
    "transitions": [{"status": "queued", "at": "2026-11-24T10:00:00.000000Z"}],
    "a_field_of_next_year": 1,
}
FAILURES = [Reply(cut=0), problem(503, "database_unavailable", Retry_After="0"), problem(429, "rate_limited")]
both = pytest.mark.parametrize("call", [at_once, awaited])


@both
def test_a_repeated_post_is_one_request(call: Call) -> None:
    with ScriptedServer(*FAILURES, said(202, REQUEST)) as server:
        made = call(server.url, "request_deletion", ["a"], model="m", tasks=["depth"])
    assert (str(made.id), made.status, made.is_settled) == (REQUEST["id"], "queued", False)
    assert made.created_at == datetime(2026, 11, 24, 10, tzinfo=UTC)
    assert len(server.heard) == 4
    assert len({heard.headers["idempotency-key"] for heard in server.heard}) == 1
    assert len({heard.body for heard in server.heard}) == 1
    with ScriptedServer(said(202, REQUEST)) as server:
        for _ in range(2):
            call(server.url, "request_deletion", ["a"], model="m", tasks="all")
    assert len({heard.headers["idempotency-key"] for heard in server.heard}) == 2


@both
@pytest.mark.parametrize("failure", [Reply(cut=0), problem(503, "database_unavailable")])
def test_what_may_have_been_carried_out_is_not_sent_again(call: Call, failure: Reply) -> None:
    with ScriptedServer(failure, said(200, REQUEST)) as server, pytest.raises(LetheError):
        call(server.url, "cancel", REQUEST["id"])
    assert len(server.heard) == 1
    with ScriptedServer(problem(429, "rate_limited"), said(200, REQUEST)) as server:
        call(server.url, "cancel", REQUEST["id"])
    assert len(server.heard) == 2


@both
def test_at_last_the_problem_is_told(call: Call) -> None:
    with ScriptedServer(problem(503, "storage_unavailable")) as server:
        with pytest.raises(errors.Unavailable) as raised:
            call(server.url, "get_request", REQUEST["id"])
        with pytest.raises(errors.Problem, match=r"Because of storage_unavailable\."):
            call(server.url, "get_model", "m")
    assert len(server.heard) == 8
    found = raised.value
    assert (found.code, found.title, found.status) == ("storage_unavailable", "No", 503)


KINDS = {
    400: errors.BadRequest,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    410: errors.Gone,
    412: errors.PreconditionFailed,
    413: errors.TooLarge,
    416: errors.RangeUnsatisfiable,
    418: errors.Problem,
    422: errors.InvalidInput,
    429: errors.RateLimited,
    500: errors.ServerError,
    503: errors.Unavailable,
}


def test_each_status_has_its_exception() -> None:
    with ScriptedServer(script=lambda heard: problem(int(heard.path.rpartition("/")[2]), "c")) as server:
        for status, kind in KINDS.items():
            with pytest.raises(errors.Problem) as raised:
                at_once(server.url, "get_model", str(status))
            assert (type(raised.value), raised.value.code, raised.value.status) == (kind, "c", status)


@both
def test_nobody_there(call: Call) -> None:
    with ScriptedServer(Reply()) as server:
        url = server.url
    with pytest.raises(errors.Unreachable, match=r"cannot be reached.*does the service run\?") as raised:
        call(url, "get_model", "m")
    assert KEY not in repr(raised.value) + repr(raised.value.__dict__)


def test_another_service_answers() -> None:
    page = Reply(200, b"<html>", {"Lethe-Version": "9.9"})
    with ScriptedServer(page) as server, pytest.raises(errors.UnexpectedAnswer, match=r"9\.9"):
        at_once(server.url, "get_model", "m")
    with ScriptedServer(Reply(502, b"<html>")) as server, pytest.raises(errors.ServerError, match="502"):
        at_once(server.url, "get_model", "m")


def test_names_cannot_lead_to_another_path() -> None:
    with ScriptedServer(problem(404, "model_not_found")) as server:
        with pytest.raises(errors.NotFound):
            at_once(server.url, "get_version", "../api-keys?", "1/2")
        with pytest.raises(ValueError, match="UUID"):
            at_once(server.url, "get_request", "../models")
    assert [heard.path for heard in server.heard] == ["/v1/models/../api-keys?/versions/1/2"]


def test_how_long_to_wait() -> None:
    retries = Retries(attempts=4, first=1.0, most=10.0)
    lost = NoAnswer("", arrived=True)
    for attempt, most in ((1, 1.0), (2, 2.0), (3, 4.0)):
        pauses = [retries.pause(lost, attempt, repeatable=True) for _ in range(50)]
        assert all(pause is not None and 0 <= pause <= most for pause in pauses)
        assert len(set(pauses)) > 1
    assert retries.pause(lost, 4, repeatable=True) is None
    assert retries.pause(lost, 1, repeatable=False) is None
    assert retries.pause(NoAnswer("", arrived=False), 1, repeatable=False) is not None
    asked = retries.pause(Answer(503, {"retry-after": "7"}), 1, repeatable=True)
    assert asked is not None
    assert 7 <= asked <= 8
    assert retries.pause(Answer(503, {"retry-after": "11"}), 1, repeatable=True) is None
    assert retries.pause(Answer(500, {}), 1, repeatable=True) is None


def test_retry_after_is_a_number_or_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    found = retry_after(Answer(503, {"retry-after": soon}))
    assert found is not None
    assert 25 <= found <= 30
    for text in ("", "soon", "-1", "9" * 400, "1e3"):
        assert retry_after(Answer(503, {"retry-after": text})) is None
    assert retry_after(Answer(503, {"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"})) == 0


def test_many_instances_are_sent_ahead() -> None:
    ahead = {"id": REQUEST["id"], "instance_count": 5001, "created_at": REQUEST["created_at"]}
    many = [f"i-{number}" for number in range(5001)]
    with ScriptedServer(said(201, ahead), said(202, REQUEST), Reply(204)) as server:
        at_once(server.url, "request_deletion", many, model="m", tasks="all")
    paths = [(heard.method, heard.path) for heard in server.heard]
    assert paths == [
        ("POST", "/v1/instance-lists"),
        ("POST", "/v1/deletion-requests"),
        ("DELETE", f"/v1/instance-lists/{ahead['id']}"),
    ]
    assert json.loads(server.heard[1].body) == {"model": "m", "tasks": "all", "instance_list": ahead["id"]}
    with ScriptedServer(said(202, REQUEST)) as server:
        at_once(server.url, "request_deletion", many, model="m", tasks="all", idempotency_key="mine")
    assert json.loads(server.heard[0].body)["instances"] == many
