"""Secrets come from files and the environment: they are in no log line and no row."""

import logging
import os
import re
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session, sessionmaker

from app.core.settings import OldHashKey, Settings
from app.core.signing import StatementSigner
from app.main import create_app
from app.relay.sealing import seal_entries, sign_checkpoints
from tests.app.conftest import calling
from tests.app.world import World
from tests.client.conftest import sessions
from tests.database import Database
from tests.opendsr.certificate import DOMAIN, write_certificate

__all__ = ["sessions"]
pytestmark = pytest.mark.anyio

KEYS = {
    name: f"{number:x}" * 63 + "7"
    for number, name in enumerate(
        ("hash_key", "webhook_key", "webhook_previous_key", "signing_key", "model_signing_key"), 1
    )
}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    key_file, certificate_file = write_certificate(tmp_path)
    master = tmp_path / "master"
    master.write_text("9" * 63 + "7\n")
    return Settings(
        **settings.model_dump()
        | KEYS
        | {
            "hash_key_id": "k2",
            "old_hash_keys": [OldHashKey(id="k1", key=SecretStr("8" * 63 + "7"))],
            "metrics_token": "the scraper's own word",
            "opendsr_resolver_token": "the resolver's own word",
            "opendsr_key_file": str(key_file),
            "opendsr_certificate_file": str(certificate_file),
            "opendsr_domain": DOMAIN,
            "master_key_file": str(master),
            "key_store_url": f"file://{tmp_path}/keys",
        }
    )


async def test_no_log_line_and_no_row_holds_a_secret(
    settings: Settings,
    database: Database,
    sessions: sessionmaker[Session],
    pg_dump: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    engine = create_engine(database.owner_url)
    world = World(engine, settings)
    world.ready_model()
    key = world.key("acme", "admin")
    made = create_app(settings)
    handed_out = [key.split("_")[2]]
    async with made.router.lifespan_context(made), calling(made, key) as client:
        hook = (await client.post("/v1/webhooks", json={"url": "https://receiver.example.com/"})).json()
        another = (await client.post("/v1/api-keys", json={"name": "a", "scopes": ["admin"]})).json()
        handed_out += [hook["secret"].removeprefix("whsec_"), another["key"].split("_")[2]]
        body = {"model": "reader", "instances": ["scan-1"], "tasks": "all"}
        assert (await client.post("/v1/deletion-requests", json=body)).status_code == 202
        assert (await client.get("/metrics")).status_code == 401
        world.run("ALTER TABLE jobs RENAME TO jobs_away")  # an error with its traceback, too
        assert (await client.get("/v1/jobs")).status_code == 500
        world.run("ALTER TABLE jobs_away RENAME TO jobs")
    seal_entries(sessions)
    sign_checkpoints(sessions, StatementSigner(bytes.fromhex(KEYS["signing_key"])), "http://lethe")
    engine.dispose()

    url = make_url(database.owner_url).set(drivername="postgresql").render_as_string(hide_password=False)
    rows = subprocess.run([pg_dump, "--data-only", url], check=True, capture_output=True, text=True).stdout
    out, err = capsys.readouterr()
    told = caplog.text + out + err + repr(settings)
    assert "unhandled_error" in told
    assert "deletion_request" in rows
    secrets = [*_values(settings), *handed_out, "9" * 63 + "7"]
    assert len(secrets) >= 12
    for secret in secrets:
        assert secret not in told
        assert secret not in rows


def test_what_is_a_secret_by_its_name_is_declared_as_one() -> None:
    """And so is hidden, and looked for above."""
    secret = re.compile(r"(^|_)(key|keys|token|password|secret)$")
    named = {name: field for name, field in Settings.model_fields.items() if secret.search(name)}
    assert len(named) > 6
    plain = {name for name, field in named.items() if "SecretStr" not in str(field.annotation)}
    assert plain == {"old_hash_keys"}
    assert OldHashKey.model_fields["key"].annotation is SecretStr


def test_secrets_come_from_files_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LETHE_")]:
        monkeypatch.delenv(name)
    written = {
        "lethe_database_url": "postgresql://lethe_app@db/lethe",
        "LETHE_HASH_KEY": KEYS["hash_key"],
        "lethe_old_hash_keys": '[{"id": "k0", "key": "' + KEYS["signing_key"] + '"}]',
        "lethe_signing_key": KEYS["signing_key"],
        "lethe_webhook_key": KEYS["webhook_key"],
    }
    for name, text in written.items():
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setenv("LETHE_SECRETS_FOLDER", str(tmp_path))
    monkeypatch.setenv("LETHE_BROKER_URL", "redis://broker/0")
    monkeypatch.setenv("LETHE_STORAGE_URL", f"file://{tmp_path}")
    monkeypatch.setenv("LETHE_WEBHOOK_KEY", "")  # not of this process
    settings = Settings()
    assert settings.hash_key.get_secret_value() == KEYS["hash_key"]
    assert settings.signing_key == SecretStr(KEYS["signing_key"])
    assert [old.id for old in settings.old_hash_keys] == ["k0"]
    assert settings.webhook_key == SecretStr("")
    monkeypatch.delenv("LETHE_SECRETS_FOLDER")
    with pytest.raises(ValidationError, match="hash_key"):
        Settings()


def _values(settings: Settings) -> list[str]:
    """Of everything that is declared a secret, but for URLs, which hold one: their password."""
    found = [getattr(settings, name) for name in type(settings).model_fields]
    texts = [value.get_secret_value() for value in found if isinstance(value, SecretStr)]
    texts += [old.key.get_secret_value() for old in settings.old_hash_keys]
    return [text for text in texts if "://" not in text] + ["test-password"]
