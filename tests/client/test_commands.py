"""The command: one JSON document, an exit status that says what happened, and never the key."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lethe.command import main
from lethe.versions import CLIENT_VERSION, disagreement
from tests.client.scripted import KEY, Reply, ScriptedServer, problem, said
from tests.client.test_following import SSE, event
from tests.client.test_retrying import REQUEST

ID = REQUEST["id"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("LETHE_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("LETHE_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "200")

    def at(url: str | None, *arguments: str) -> tuple[int, str, str]:
        if url is None:
            monkeypatch.delenv("LETHE_URL", raising=False)
        else:
            monkeypatch.setenv("LETHE_URL", url)
        status = main(arguments)
        captured = capsys.readouterr()
        assert "do-not-print" not in captured.out + captured.err
        return status, captured.out, captured.err

    return at


def test_a_request_from_a_file_until_it_has_ended(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "ids.csv"
    file.write_text("id,email\na,x@example.org\nb,y@example.org\n")
    done = REQUEST | {"status": "succeeded", "result_version": 2}
    streamed = event(1, "request.queued") + 'event: progress\ndata: {"done": 1, "total": 2}\n\n'
    replies = [said(202, REQUEST), Reply(200, streamed.encode(), SSE), Reply(204), said(200, done)]
    named = ("--model", "m", "--instances", str(file), "--tasks", "depth, normal", "--wait")
    with ScriptedServer(*replies) as server:
        status, out, err = run(server.url, "request", *named)
    assert (status, "version 2 behaves as if" in out, ID in err) == (0, True, True)
    assert "100 %" in err, "there is a bar, and it has come to its end"
    sent = json.loads(server.heard[0].body)
    assert sent == {"model": "m", "tasks": ["depth", "normal"], "instances": ["a", "b"]}
    with ScriptedServer(said(202, REQUEST), said(200, REQUEST | {"status": "failed"})) as server:
        status, out, err = run(server.url, "request", *named, "--json")
    assert (status, json.loads(out)["status"], err) == (3, "failed", "")
    with ScriptedServer(said(202, REQUEST), said(200, REQUEST | {"status": "needs_review"})) as server:
        assert run(server.url, "request", *named, "--json")[0] == 4
    with ScriptedServer(said(202, REQUEST)) as server:
        status, out, _ = run(server.url, "request", *named, "--json", "--timeout", "0")
    assert (status, json.loads(out)["error"]["code"]) == (7, "still_running")


@pytest.mark.parametrize(
    ("reply", "status", "says"),
    [
        (problem(401, "api_key_invalid"), 6, "Is it the key of this service"),
        (problem(403, "scope_missing"), 6, "Because of scope_missing"),
        (problem(404, "request_not_found"), 1, "Because of request_not_found"),
        (problem(503, "database_unavailable", Retry_After="999"), 5, "Because of database_unavailable"),
        (Reply(200, b"<html>"), 1, "not that of a Lethe service"),
    ],
)
def test_what_goes_wrong_has_its_exit_status(run: Run, reply: Reply, status: int, says: str) -> None:
    with ScriptedServer(reply) as server:
        found, out, err = run(server.url, "status", ID)
        assert (found, out, says in err) == (status, "", True), err
        found, out, err = run(server.url, "status", ID, "--json")
    error = json.loads(out)["error"]
    assert (found, error["code"] in err or error["detail"] in err) == (status, True)


def test_nobody_there_and_nowhere_to_go(run: Run, tmp_path: Path) -> None:
    status, _, err = run(None, "status", ID)
    assert (status, "set LETHE_URL and LETHE_API_KEY" in err) == (2, True)
    (tmp_path / "config.toml").write_text(f"[profiles.p]\nurl = 'not-a-url'\napi_key = '{KEY}'\n")
    status, out, err = run(None, "signing-keys", "--profile", "p", "--json")
    assert (status, json.loads(out)["error"]["code"], "others" in err.lower()) == (2, "not_configured", True)


def test_versions_that_disagree_are_told(run: Run) -> None:
    with ScriptedServer(said(200, REQUEST, Lethe_Version="99.1.0")) as server:
        status, out, err = run(server.url, "status", ID, "--json")
    assert (status, json.loads(out)["id"]) == (0, ID)
    assert f"version {CLIENT_VERSION} of the client" in err
    assert "99.1.0" in err
    for server_version, client_version, agree in (
        ("0.1.9", "0.1.0", True),
        ("0.2.0", "0.1.0", False),
        ("1.9.0", "1.0.3", True),
        ("2.0.0", "1.0.3", False),
    ):
        assert (disagreement(server_version, client_version) is None) is agree
    assert disagreement(None) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("request", "--model", "m", "--instance", "a"),
        ("request", "--tasks", "all", "--instance", "a"),
        ("request", "--tasks", "all", "--model", "m"),
        ("status", "no-id"),
        ("lookup", "--dataset", "d"),
        ("unknown",),
    ],
)
def test_what_is_badly_written_is_sent_nowhere(run: Run, arguments: tuple[str, ...]) -> None:
    with ScriptedServer(said(200, REQUEST)) as server:
        status, out, err = run(server.url, *arguments)
        assert (status, out, bool(err)) == (2, "", True)
        status, out, err = run(server.url, *arguments, "--json")
    assert (status, json.loads(out)["error"]["code"], bool(err)) == (2, "badly_written", True)
    assert server.heard == []


def test_watching_ends_with_one_document(run: Run) -> None:
    streamed = event(4, "request.running") + event(5, "request.succeeded")
    replies = [Reply(200, streamed.encode(), SSE), Reply(204), said(200, REQUEST | {"status": "succeeded"})]
    with ScriptedServer(*replies) as server:
        status, out, err = run(server.url, "watch", ID, "--json")
    document: dict[str, Any] = json.loads(out)
    assert [each["id"] for each in document["events"]] == [4, 5]
    assert (status, document["request"]["status"], err) == (0, "succeeded", "")


def test_it_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lethe", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == CLIENT_VERSION


BODY = {
    "name": "m",
    "dataset": "d",
    "network": {"kind": "mlp", "inputs": 64, "hidden": [8]},
    "tasks": [{"name": "digit", "kind": "classification", "outputs": 10}],
    "recipe": {"learning_rate": 0.01, "epochs": 1},
}
WAITING = BODY | {
    "id": ID,
    "status": "awaiting_checkpoint",
    "policy": {},
    "created_at": REQUEST["created_at"],
}
SENT = {
    "id": ID,
    "number": 1,
    "state": "pending",
    "aliases": [],
    "created_at": REQUEST["created_at"],
    "state_since": REQUEST["created_at"],
}


def test_registering_a_model_goes_on_where_it_stopped_and_never_into_another(
    run: Run, tmp_path: Path
) -> None:
    file, weights = tmp_path / "m.json", tmp_path / "m.safetensors"
    file.write_text(json.dumps(BODY))
    weights.write_bytes(b"weights")
    arguments = ("models", "register", str(file), "--checkpoint", str(weights), "--json")
    there, ready = problem(409, "model_exists"), said(200, WAITING | {"status": "ready"})
    with ScriptedServer(there, said(200, WAITING), said(202, SENT), ready) as server:
        status, out, _ = run(server.url, *arguments, "--wait")
    assert (status, json.loads(out)["status"]) == (0, "ready")
    assert [(one.method, one.path.rpartition("/")[2]) for one in server.heard][:3] == [
        ("POST", "models"), ("GET", "m"), ("PUT", "checkpoint"),
    ]  # fmt: skip
    assert json.loads(server.heard[0].body)["recipe"] == BODY["recipe"]
    assert server.heard[2].body == b"weights"
    with ScriptedServer(there, ready) as server:
        status, out, _ = run(server.url, *arguments)
    assert (status, json.loads(out)["error"]["code"]) == (1, "model_exists")
    with ScriptedServer(said(201, WAITING | {"status": "rejected"})) as server:
        assert run(server.url, "models", "register", str(file))[0] == 3


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "m"}', json.dumps(BODY | {"weights": 1})])
def test_a_model_that_is_badly_written_is_not_sent(run: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "m.json"
    file.write_text(text)
    with ScriptedServer(said(201, WAITING)) as server:
        status, _, err = run(server.url, "models", "register", str(file))
    assert (status, "m.json" in err, server.heard) == (2, True, [])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(("send",), "[]"), (("send",), "{"), (("add-identities", "d"), "{}"), (("status", "no-id"), "{}")],
)
def test_opendsr_that_is_badly_written_is_not_sent(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    file = tmp_path / "sent.json"
    file.write_text(text)
    given = arguments if "no-id" in arguments else (*arguments, str(file))
    with ScriptedServer(said(201, {})) as server:
        status, _, err = run(server.url, "opendsr", *given)
    assert (status, bool(err), server.heard) == (2, True, [])
