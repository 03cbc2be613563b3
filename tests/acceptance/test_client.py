"""The client and its command against a real service with a real worker."""

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

import lethe
from lethe import errors
from lethe.answers import Event
from lethe.command import main
from tests.acceptance.conftest import NETWORK, RECIPE, TASKS, Sample, Service, make_sample

Command = Callable[..., Any]
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "client.md"


@pytest.fixture(scope="module")
def name() -> str:
    return f"c-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def sample(service: Service, name: str) -> Sample:
    """Registered, and ready."""
    made = make_sample(service.data / name)
    urls = {"url": f"file://{made.train}", "holdout_url": f"file://{made.holdout}"}
    with lethe.Client(service.url, service.key) as client:
        client.register_dataset(name, **urls)
        assert client.wait_for_dataset(name).status == "ready"
        client.register_model(name, dataset=name, network=NETWORK, tasks=TASKS, recipe=RECIPE)
        sent = client.upload_checkpoint(name, made.checkpoint)
        assert client.upload_checkpoint(name, made.checkpoint) == sent
        assert client.wait_for_model(name).status == "ready"
    return made


@pytest.fixture
def command(service: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`lethe … --json`: its document."""
    monkeypatch.setenv("LETHE_URL", service.url)
    monkeypatch.setenv("LETHE_API_KEY", service.key)

    def run(*arguments: str | Path, status: int = 0) -> Any:
        capsys.readouterr()
        found = main([*map(str, arguments), "--json"])
        said = capsys.readouterr()
        assert found == status, said.out + said.err
        assert service.key not in said.out + said.err
        return json.loads(said.out)

    return run


def test_the_whole_journey(
    service: Service, sample: Sample, name: str, command: Command, tmp_path: Path
) -> None:
    with lethe.Client(service.url, service.key) as client:
        assert client.get_model(name).latest_version == 1
        assert client.server_version
        assert service.key not in repr(client)

        ids = tmp_path / "ids.csv"
        ids.write_text("id\n" + "\n".join(sample.ids[:20]) + "\n")
        asked = ("--model", name, "--instances", ids, "--tasks", "colour", "--reference", "case-7")
        assert command("request", *asked, "--dry-run")["models"][0]["already_forgotten"] == 0
        done = command("request", *asked, "--wait")
        assert (done["status"], done["result_version"], done["reference"]) == ("succeeded", 2, "case-7")
        assert command("status", done["id"]) == done
        assert [each["id"] for each in command("status", "--reference", "case-7")["data"]] == [done["id"]]
        assert [each["number"] for each in command("versions", name)["data"]] == [2, 1]

        weights, certificate, keys = tmp_path / "v2.safetensors", tmp_path / "c.json", tmp_path / "keys.json"
        part = weights.with_name(f"v2.safetensors.{client.get_version(name, 2).digest[7:19]}.part")  # type: ignore[index]
        part.write_bytes(service_bytes(service, name)[:1000])
        fetched = command("download", name, "--output", weights)
        assert fetched["resumed_at"] == 1000
        assert fetched["digest"] == client.get_version(name, "latest").digest
        command("certificate", done["id"], "--output", certificate)
        command("signing-keys", "--output", keys)
        found = command("verify", certificate, "--key", keys, "--checkpoint", weights)
        assert found["verified"] is True
        weights.write_bytes(b"x")
        refused = command("verify", certificate, "--key", keys, "--checkpoint", weights, status=1)
        assert refused["verified"] is False

        memory = command("lookup", "--dataset", name, sample.ids[0], "nobody")["data"]
        states = {task["task"]: task["state"] for task in memory[0]["models"][0]["tasks"]}
        assert (states, memory[1]["known"]) == ({"colour": "forgotten", "weight": "learned"}, False)
        assert command("cancel", done["id"], status=1)["error"]["code"] == "request_finished"

        events = command("watch", done["id"])["events"]
        assert [each.id for each in client.history(done["id"])] == [each["id"] for each in events]
        rest = list(client.events(done["id"], after=events[1]["id"]))
        assert [each.id for each in rest if each.id] == [each["id"] for each in events[2:]]
        with pytest.raises(errors.NotFound) as raised:
            client.get_model("nobody")
        assert raised.value.code == "model_not_found"


def test_what_an_operator_does(service: Service, sample: Sample, name: str, command: Command) -> None:
    made = command("keys", "create", name, "--scope", "requests:read", "--expires-in-days", "1")
    with lethe.Client(service.url, made["key"]) as reader:
        assert reader.list_requests(most=1) is not None
        with pytest.raises(errors.Forbidden):
            reader.list_keys()
        command("keys", "revoke", made["id"])
        with pytest.raises(errors.Unauthenticated):
            reader.list_requests()
    assert command("keys", "list", "--most", "1")["data"][0]["revoked_at"]

    hook = command("webhooks", "create", "https://nowhere.invalid/", "--event", "job.*")
    assert command("webhooks", "test", hook["id"])["type"] == "webhook.ping"
    assert command("webhooks", "rotate-secret", hook["id"])["secret"] != hook["secret"]
    assert command("webhooks", "deliveries", hook["id"])["data"][0]["type"] == "webhook.ping"
    assert command("webhooks", "resend", hook["id"]) == {"resent": 0}
    command("webhooks", "delete", hook["id"])
    assert hook["id"] not in [each["id"] for each in command("webhooks", "list")["data"]]

    held = command("holds", "place", name, "--reason", "case 4")
    told = command("models", "destroy", name, "--reason", "order", status=1)
    assert told["error"]["code"] == "legal_hold"
    assert command("holds", "lift", name, held["id"], "--reason", "closed")["lift_reason"] == "closed"
    assert command("holds", "list", name)["data"][0]["lifted_at"]
    told = command("models", "destroy", name, "--reason", "order")
    assert (told["status"], [each["model"] for each in told["models"]]) == ("confirmation_needed", [name])
    assert command("models", "show", name)["status"] == "ready"


def test_the_audit_log_is_kept_and_checked(service: Service, command: Command, tmp_path: Path) -> None:
    log, kept, keys = tmp_path / "log.jsonl", tmp_path / "kept.json", tmp_path / "keys.json"
    actions = [each["entry"]["action"] for each in command("audit", "list", "--most", "500")["data"]]
    assert "tenant.create" in actions
    with lethe.Client(service.url, service.key) as client:
        kept.write_bytes(client.audit_checkpoint())
    command("audit", "export", "--output", log)
    command("signing-keys", "--output", keys)
    checked = command("audit", "verify", log, "--key", keys, "--checkpoint", kept)
    assert checked["verified"] is True
    assert not log.with_name("log.jsonl.part").exists()


def test_the_same_without_blocking(service: Service, sample: Sample, name: str, tmp_path: Path) -> None:
    async def journey() -> tuple[lethe.answers.DeletionRequest, list[Event]]:
        async with lethe.AsyncClient(service.url, service.key) as client:
            named = {"model": name, "tasks": "all", "idempotency_key": name}
            both = [await client.request_deletion(sample.ids[:10], **named) for _ in range(2)]
            assert both[0].id == both[1].id
            seen = [event async for event in client.events(both[0].id)]
            done = await client.wait(both[0])
            await client.download(name, done.result_version or 0, tmp_path / "v.safetensors")
            return done, seen

    done, seen = anyio.run(journey)
    assert done.status == "succeeded"
    assert (done.result_version or 0) >= 2
    assert "request.succeeded" in [event.type for event in seen]
    assert (tmp_path / "v.safetensors").stat().st_size > 0


def service_bytes(service: Service, model: str) -> bytes:
    answer = httpx.get(
        f"{service.url}/v1/models/{model}/versions/2/checkpoint",
        headers={"Authorization": f"Bearer {service.key}"},
    )
    return answer.content


def test_the_quick_start(
    service: Service,
    sample: Sample,
    name: str,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = re.search(r"<!-- quick start:.*?-->\n```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    assert block is not None
    monkeypatch.chdir(tmp_path)
    exec(block[1].replace('"people"', repr(name)), {})
    found = command("verify", "certificate.json", "--key", "keys.json", "--checkpoint", "people.safetensors")
    assert found["verified"] is True
