"""Every command, as a person types it and with --json: one document, nothing else, and no traceback."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from cryptography.hazmat.primitives.asymmetric import ec

from lethe.command import app, main
from tests.client.described import Service, openapi
from tests.client.samples import ID
from tests.client.scripted import KEY, ScriptedServer
from tests.self_signed import write_certificate

GIVEN: dict[tuple[str, ...], str] = {
    ("request",): "--model m --instance a --tasks all --guarantee exact --dry-run",
    ("status",): ID,
    ("watch",): ID,
    ("cancel",): ID,
    ("retry",): ID,
    ("approve",): ID + " --reason r",
    ("reject",): ID + " --reason r",
    ("certificate",): ID + " --output certificate.json",
    ("signing-keys",): "",
    ("lookup",): "--dataset d a",
    ("versions",): "m",
    ("download",): "m 1 --output m.safetensors",
    ("datasets", "register"): "d file:///data/train --holdout file:///data/holdout",
    ("datasets", "list"): "",
    ("datasets", "show"): "d",
    ("models", "register"): "model.json",
    ("models", "list"): "",
    ("models", "show"): "m",
    ("models", "retention"): "m --quarantine-after 7 --delete-after never",
    ("models", "destroy"): "m --reason r",
    ("holds", "list"): "m",
    ("holds", "place"): "m --reason r --version 1",
    ("holds", "lift"): f"m {ID} --reason r",
    ("jobs", "list"): "--status needs_review",
    ("jobs", "show"): ID,
    ("jobs", "approve"): f"{ID} --reason r",
    ("jobs", "reject"): f"{ID} --reason r",
    ("jobs", "retry"): ID,
    ("jobs", "cancel"): ID,
    ("keys", "list"): "",
    ("keys", "create"): "service --scope requests:write --scope requests:read --expires-in-days 30",
    ("keys", "rotate"): f"{ID} --overlap-hours 1",
    ("keys", "revoke"): ID,
    ("webhooks", "list"): "",
    ("webhooks", "create"): "https://r.example/ --event job.*",
    ("webhooks", "change"): f"{ID} --hold-back",
    ("webhooks", "delete"): ID,
    ("webhooks", "rotate-secret"): f"{ID} --previous-signs-hours 0",
    ("webhooks", "test"): ID,
    ("webhooks", "deliveries"): f"{ID} --status dead",
    ("webhooks", "resend"): ID,
    ("audit", "list"): "--after 3",
    ("audit", "checkpoint"): "",
    ("audit", "export"): "--output audit.jsonl",
    ("opendsr", "discovery"): "",
    ("opendsr", "send"): "erasure.json",
    ("opendsr", "status"): f"{ID} --stub",
    ("opendsr", "cancel"): ID,
    ("opendsr", "add-identities"): "d identities.json",
    ("opendsr", "remove-identities"): "d",
}
MODEL = {
    "name": "m",
    "dataset": "d",
    "network": {"kind": "mlp", "inputs": 64, "hidden": [8]},
    "tasks": [{"name": "digit", "kind": "classification", "outputs": 10}],
    "recipe": {"learning_rate": 0.01, "epochs": 1},
}
IDENTITY = {"identity_type": "email", "identity_value": "a@example.com", "identity_format": "raw"}
ERASURE = {
    "regulation": "gdpr",
    "subject_request_id": ID,
    "subject_request_type": "erasure",
    "submitted_time": "2026-05-01T12:00:00Z",
    "subject_identities": [IDENTITY],
}
# Their documents are the signed bytes themselves, or they speak to nobody.
AS_THEY_COME = {("audit", "checkpoint"), ("opendsr", "discovery")}
OFFLINE = {("verify",), ("verify-audit",), ("audit", "verify")}


def commands(within: click.Command, name: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    found = getattr(within, "commands", None)
    if found is None:
        yield name
        return
    for each, command in found.items():
        yield from commands(command, (*name, each))


def test_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert set(commands(typer.main.get_command(app))) == set(GIVEN) | OFFLINE
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    (tmp_path / "erasure.json").write_text(json.dumps(ERASURE))
    (tmp_path / "identities.json").write_text(json.dumps([IDENTITY | {"instances": ["a"]}]))
    # One authority in place of all of the world's, which would be read for each of these commands anew.
    _, authority = write_certificate(tmp_path, "authority.example", ec.generate_private_key(ec.SECP256R1()))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with ScriptedServer(script=Service(openapi()).answer) as server:
        monkeypatch.setenv("LETHE_URL", server.url)
        monkeypatch.setenv("LETHE_API_KEY", KEY)
        for name, given in GIVEN.items():
            told = main([*name, *given.split()])
            words = capsys.readouterr().out
            assert (told, bool(words)) == (0, True), name
            told = main([*name, *given.split(), "--json"])
            document, errors = capsys.readouterr()
            assert (told, errors) == (0, ""), name
            assert isinstance(json.loads(document), dict), name
            assert (words == document) is (name in AS_THEY_COME), name
