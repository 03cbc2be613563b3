"""The audit log over HTTP."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from app.admin import cli
from app.core.settings import Settings
from app.core.signing import configured_signer
from app.relay.sealing import seal_entries, sign_checkpoints
from lethe.audit_export import verify_audit_export
from lethe.keys import read_keys
from tests.app.conftest import calling
from tests.app.world import World
from tests.database import Database

pytestmark = pytest.mark.anyio


def seal(database: Database, settings: Settings) -> None:
    """As the relay does."""
    engine = create_engine(database.relay_url)
    sessions: sessionmaker[Session] = sessionmaker(engine)
    seal_entries(sessions)
    signer = configured_signer(settings)
    assert signer is not None
    sign_checkpoints(sessions, signer, "http://lethe")
    engine.dispose()


async def test_the_log_can_be_read_taken_along_and_checked(
    client: httpx.AsyncClient,
    app: FastAPI,
    world: World,
    database: Database,
    settings: Settings,
    tmp_path: Path,
) -> None:
    world.tenant("other")
    world.ready_model()
    body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
    made = await client.post("/v1/deletion-requests", json=body)
    for path in ("/v1/audit/checkpoint", "/v1/audit/export"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "audit_checkpoint_not_found")
    seal(database, settings)
    async with calling(app, world.key("acme", "audit:read")) as auditor:
        page = (await auditor.get("/v1/audit", params={"limit": 2})).json()
        assert [row["position"] for row in page["data"]] == [1, 2]
        assert page["has_more"]
        rest = (await auditor.get("/v1/audit", params={"after": 2})).json()
        last = rest["data"][-1]["entry"]
        assert (last["action"], last["subject"]) == ("deletion_request.create", made.json()["id"])
        assert last["request"] == made.headers["x-request-id"]
        export = await auditor.get("/v1/audit/export")
        kept = await auditor.get("/v1/audit/checkpoint")
    assert export.headers["content-type"] == "application/x-ndjson"
    assert b"other" not in export.content
    (tmp_path / "audit.jsonl").write_bytes(export.content)
    (tmp_path / "kept.json").write_bytes(kept.content)
    async with calling(app, None) as anybody:
        keys = await anybody.get("/.well-known/lethe-signing-keys.json")
    (tmp_path / "keys.json").write_bytes(keys.content)
    findings = verify_audit_export(
        tmp_path / "audit.jsonl", read_keys([tmp_path / "keys.json"]), tmp_path / "kept.json"
    )
    assert len(findings.proven) == 3
    done = CliRunner().invoke(cli, ["export-audit", "acme"], env={"LETHE_DATABASE_URL": database.app_url})
    assert done.stdout_bytes == export.content
    assert world.run("SELECT count(*) FROM audit_log WHERE action = 'audit.export'") == 1


async def test_only_with_the_scope(app: FastAPI, world: World) -> None:
    async with calling(app, world.key("acme", "requests:read")) as client:
        for path in ("/v1/audit", "/v1/audit/export", "/v1/audit/checkpoint"):
            assert (await client.get(path)).json()["code"] == "scope_missing"


async def test_a_key_that_is_none_is_refused_in_a_sentence(settings: Settings) -> None:
    with pytest.raises(ValueError, match="openssl rand -hex 32"):
        configured_signer(settings.model_copy(update={"signing_key": SecretStr("zz")}))
    assert configured_signer(settings.model_copy(update={"signing_key": None})) is None
