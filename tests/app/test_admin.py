"""The operator's command."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from app.admin import cli
from app.core.settings import get_settings
from app.core.storage import open_storage
from tests.app.conftest import calling
from tests.app.world import World
from tests.database import Database


@pytest.fixture
def command(database: Database, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("LETHE_DATABASE_URL", database.app_url)
    return CliRunner()


@pytest.mark.anyio
async def test_from_a_tenant_to_a_key_and_back(command: CliRunner, app: FastAPI, world: World) -> None:
    made = command.invoke(cli, ["create-tenant", "acme", "--root", "file:///data", "--root", "s3://bucket"])
    assert made.exit_code == 0, made.output
    again = command.invoke(cli, ["create-tenant", "acme", "--root", "file:///data/"])
    assert again.stdout == made.stdout
    assert command.invoke(cli, ["allow-root", "acme", "gs://more/x"]).exit_code == 0
    assert world.run("SELECT allowed_roots FROM tenants") == [
        "file:///data",
        "s3://bucket/",
        "gs://more/x",
    ]
    key = command.invoke(
        cli,
        ["create-key", "acme", "--name", "desk", "--scope", "models:read", "--expires-days", "2"],
    ).stdout.strip()
    assert key.startswith("lethe_")
    async with calling(app, key) as client:
        assert (await client.get("/v1/models")).status_code == 200
        await asyncio.gather(*app.state.background)  # the commands below hold up the event loop
        listed = command.invoke(cli, ["list-keys"]).stdout
        shown = ["acme", key.split("_")[1], "desk", "models:read", "active", "all models"]
        assert listed.split("\t")[:6] == shown
        assert len(listed.split("\t")) == 8
        limited = ["create-key", "acme", "--name", "desk", "--scope", "models:read", "--model", "reader"]
        assert "no model 'reader'" in command.invoke(cli, limited).stderr
        rotated = command.invoke(cli, ["rotate-key", key.split("_")[1], "--overlap-hours", "1"])
        assert rotated.stdout.startswith("lethe_")
        assert command.invoke(cli, ["revoke-key", key.split("_")[1]]).exit_code == 0
        assert command.invoke(cli, ["revoke-key", key.split("_")[1]]).exit_code == 0
        answer: httpx.Response = await client.get("/v1/models")
        assert answer.json()["code"] == "api_key_revoked"
    actions = [row[0] for row in world.rows("SELECT action FROM audit_log ORDER BY id")]
    assert actions == [
        "tenant.create",
        "tenant.allow_root",
        "tenant.allow_root",
        "tenant.allow_root",
        "api_key.create",
        "api_key.rotate",
        "api_key.revoke",
    ]


@pytest.mark.anyio
async def test_the_operator_decides_where_there_is_one_administrator(
    command: CliRunner, app: FastAPI, world: World
) -> None:
    world.tenant("other")
    world.ready_model()
    url = "/v1/deletion-requests"
    assert command.invoke(cli, ["set-quota", "acme", "--instances-per-day", "5"]).exit_code == 0
    async with calling(app, world.key("acme", "admin")) as client:
        asked = []
        for k in range(2):
            instances = [f"scan-{n}" for n in range(8 * k, 8 * k + 8)]
            sent = {"model": "reader", "instances": instances, "tasks": "all"}
            asked.append((await client.post(url, json=sent)).json())
        assert [made["status"] for made in asked] == ["awaiting_approval"] * 2
        good, bad = (made["id"] for made in asked)
        own = await client.post(f"{url}/{good}/approve", json={"reason": "I say so"})
        assert own.json()["code"] == "own_request"
        await asyncio.gather(*app.state.background)
        for said in (["approve", good, "--reason", "the school has left"], ["reject", bad, "--reason", "no"]):
            done = command.invoke(cli, said)
            assert (done.exit_code, done.output) == (0, "")
            twice = command.invoke(cli, said)
            assert (twice.exit_code, "nothing of it waits" in twice.stderr) == (1, True)
        shown = [(await client.get(f"{url}/{made['id']}")).json() for made in asked]
    assert [one["status"] for one in shown] == ["queued", "failed"]
    assert [one["approval"]["by"] for one in shown] == ["operator"] * 2
    audited = world.rows(
        "SELECT actor, action, data ->> 'reason' AS reason FROM audit_log"
        " WHERE action LIKE 'deletion_request.%ct' OR action LIKE '%.approve' ORDER BY id"
    )
    assert [tuple(row) for row in audited] == [
        ("operator", "deletion_request.approve", "the school has left"),
        ("operator", "deletion_request.reject", "no"),
    ]
    assert command.invoke(cli, ["approve", good, "--reason", " "]).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create-key", "nobody", "--name", "x", "--scope", "admin"], "There is no tenant named nobody"),
        (["allow-root", "nobody", "file:///x"], "There is no tenant named nobody"),
        (["revoke-key", "000000000000"], "There is no key"),
        (
            ["approve", "00000000-0000-0000-0000-000000000000", "--reason", "x"],
            "There is no deletion request",
        ),
    ],
)
def test_refusals_are_one_sentence(command: CliRunner, arguments: list[str], says: str) -> None:
    done = command.invoke(cli, arguments)
    assert done.exit_code == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_scope_and_a_bad_root(command: CliRunner) -> None:
    command.invoke(cli, ["create-tenant", "acme"])
    done = command.invoke(cli, ["create-key", "acme", "--name", "x", "--scope", "root"])
    assert (done.exit_code, "requests:write" in done.stderr) == (1, True)
    done = command.invoke(cli, ["allow-root", "acme", "ftp://x"])
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)


def test_a_database_that_is_away() -> None:
    url = "postgresql+psycopg://x:y@127.0.0.1:1/z"
    done = CliRunner().invoke(cli, ["list-keys"], env={"LETHE_DATABASE_URL": url})
    assert done.exit_code == 1
    assert "LETHE_DATABASE_URL" in done.stderr


def test_keys_rotate_on_command(
    command: CliRunner, database: Database, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.ready_dataset(instances=3)
    old = world.settings.hash_key.get_secret_value()
    (tmp_path / "master").write_text("ab" * 32)
    for name, value in {
        "OWNER_DATABASE_URL": database.owner_url,
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "STORAGE_URL": world.settings.storage_url,
        "HASH_KEY": "cd" * 32,
        "HASH_KEY_ID": "k2",
        "OLD_HASH_KEYS": json.dumps([{"id": "k1", "key": old}]),
        "MASTER_KEY_FILE": str(tmp_path / "master"),
        "KEY_STORE_URL": f"file://{tmp_path}/keys",
    }.items():
        monkeypatch.setenv(f"LETHE_{name}", value)
    get_settings.cache_clear()
    try:
        for moved in ("3", "0"):
            done = command.invoke(cli, ["rotate-hash-key"])
            assert (done.exit_code, done.output) == (0, f"acme\t{moved}\n")
        world.run(
            "INSERT INTO artifacts (id, tenant_id, kind, path) SELECT gen_random_uuid(), id, 'checkpoint',"
            " 'a/checkpoint/b' FROM tenants"
        )
        open_storage(get_settings()).put("a/checkpoint/b", [b"content"])
        (tmp_path / "master").write_text("ef" * 32 + "\n" + "ab" * 32)
        for wrapped in ("1", "0"):
            done = command.invoke(cli, ["rewrap-keys"])
            assert (done.exit_code, done.output) == (0, f"{wrapped}\n")
        (tmp_path / "master").write_text("ef" * 32)
        assert b"".join(open_storage(get_settings()).read("a/checkpoint/b")) == b"content"
    finally:
        get_settings.cache_clear()
