"""Every event once, in order, however often the stream breaks."""

import json

import pytest

from lethe import errors
from tests.client.calling import Call, at_once, awaited
from tests.client.scripted import Reply, ScriptedServer, problem

ID = "0198c0de-0000-7000-8000-000000000001"
SSE = {"Content-Type": "text/event-stream"}
both = pytest.mark.parametrize("call", [at_once, awaited])


def event(number: int, kind: str) -> str:
    return f"event: {kind}\nid: {number}\ndata: {json.dumps({'n': number})}\n\n"


def stream(*events: str, cut: bool = False) -> Reply:
    body = ("retry: 500\n: a comment\n\n" + "".join(events)).encode()
    return Reply(200, body + b"data: unfini" * cut, SSE, len(body) + 5 if cut else None)


PROGRESS = 'event: progress\ndata: {"done": 1, "total": 2}\n\n'


@both
def test_a_stream_is_taken_up_after_the_last_event(call: Call) -> None:
    replies = [
        stream(event(3, "request.queued"), event(5, "request.running"), PROGRESS, cut=True),
        problem(503, "database_unavailable"),
        Reply(200, b": nothing", SSE, cut=4),
        stream(event(8, "request.succeeded")),
        Reply(204),
    ]
    with ScriptedServer(*replies) as server:
        found = call(server.url, "events", ID)
    assert [(each.id, each.type) for each in found] == [
        (3, "request.queued"),
        (5, "request.running"),
        (None, "progress"),
        (8, "request.succeeded"),
    ]
    assert found[2].data == {"done": 1, "total": 2}
    sent = [heard.headers.get("last-event-id") for heard in server.heard]
    assert sent == [None, "5", "5", "5", "8"]


@both
def test_a_stream_that_stays_away_is_given_up(call: Call) -> None:
    with ScriptedServer(problem(503, "database_unavailable")) as server:
        with pytest.raises(errors.Unavailable):
            call(server.url, "events", ID, after=7)
        assert len(server.heard) == 4
        assert {heard.headers["last-event-id"] for heard in server.heard} == {"7"}
    with ScriptedServer(stream()) as server, pytest.raises(errors.Unreachable):
        call(server.url, "events", ID)
    with ScriptedServer(problem(404, "request_not_found")) as server, pytest.raises(errors.NotFound):
        call(server.url, "events", ID)
