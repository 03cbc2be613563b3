"""`lethe verify`: whatever byte is changed in what was signed is found, without a network."""

import base64
import hashlib
import json
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.core.signing import DISPOSAL, PARTS, UNLEARNING, StatementSigner
from lethe.certificate import verify_certificate
from lethe.findings import NotVerified
from lethe.keys import read_keys
from tests.client.conftest import Done
from tests.client.every_byte import unnoticed_changes

WEIGHTS = b"weights of version two"
ABOUT: dict[str, Any] = {"issued_at": "2026-11-24T12:00:00Z", "does_not_prove": ["Fünf"]}


def part(signer: StatementSigner, name: str) -> str:
    predicate = ABOUT | {
        "request": {
            "id": name,
            "parent": "whole",
            "received_at": "2026-11-23T12:00:00Z",
            "instances": {"count": 1},
            "tasks": ["digit"],
        },
        "model": {"name": f"model-{name}"},
        "result": {"version": 2, "digest": "sha256:ab"},
        "outcome": "nothing_left",
    }
    return signer.sign(UNLEARNING, {f"model-{name}@2": hashlib.sha256(WEIGHTS).hexdigest()}, predicate)


def disposal(signer: StatementSigner, name: str) -> str:
    predicate = ABOUT | {
        "request": {"id": name},
        "model": {"name": f"model-{name}"},
        "disposed": [{"version": 1}],
        "method": "deleted",
    }
    return signer.sign(DISPOSAL, {f"model-{name}@1": "cd" * 32}, predicate)


def bundle(signer: StatementSigner) -> str:
    """As of a request on a data set: the statement of its part, that one's certificate, a disposal."""
    certificate = part(signer, "one")
    digest = hashlib.sha256(certificate.encode()).hexdigest()
    predicate = ABOUT | {
        "request": {"id": "whole", "received_at": "2026-11-23T12:00:00Z", "instances": {"count": 1}},
        "dataset": {"name": "scans"},
        "parts": [{"request": "one", "model": "model-one", "certificate": digest}],
    }
    stated = signer.sign(PARTS, {"certificate/one": digest}, predicate)
    lines = [stated, certificate, disposal(signer, "one")]
    return "".join(line + "\n" for line in lines)


def document(signer: StatementSigner) -> str:
    """Certificates in one object, with no signature over the whole."""
    return f'{{"certificates":[{part(signer, "one")}],"request":"whole"}}'


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("certificate.json", lambda signer: part(signer, "one")),
        ("disposal.json", lambda signer: disposal(signer, "one")),
        ("document.json", document),
        ("bundle.intoto.jsonl", bundle),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_byte_can_be_changed_or_left_out(
    signer: StatementSigner,
    key: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    made: Callable[[StatementSigner], str],
) -> None:
    def refuse(*_: object, **__: object) -> socket.socket:
        raise AssertionError("it is checked offline")

    monkeypatch.setattr(socket, "socket", refuse)
    keys, file = read_keys([key]), tmp_path / name
    file.write_bytes(made(signer).encode())
    verify_certificate(file, keys)
    assert unnoticed_changes(file, lambda: verify_certificate(file, keys)) == []


def respelled(envelope: str) -> Mapping[str, str]:
    """The same bytes signed, the same signature: written in another way."""
    members = json.loads(envelope)
    payload = base64.b64decode(members["payload"])
    statement = json.loads(payload)
    spaced = base64.b64encode(json.dumps(statement).encode()).decode()
    signature = members["signatures"][0]

    def written(value: object) -> str:
        return json.dumps(value, separators=(",", ":"), sort_keys=True)

    return {
        "a statement with spaces": written(members | {"payload": spaced}),
        "another order": json.dumps({key: members[key] for key in ("signatures", "payload", "payloadType")}),
        "a second signature": written(members | {"signatures": [signature, signature]}),
        "something beside": written(members | {"signatures": [signature | {"note": "x"}]}),
        "another name of the key": written(members | {"signatures": [signature | {"keyid": "00"}]}),
        "without padding": written(members | {"signatures": [signature | {"sig": signature["sig"][:-2]}]}),
    }


def test_what_was_signed_can_be_written_in_one_way_only(
    signer: StatementSigner, key: Path, tmp_path: Path
) -> None:
    issued = part(signer, "one")
    file = tmp_path / "certificate.json"
    for how, text in respelled(issued).items():
        assert text != issued, how
        file.write_text(text)
        with pytest.raises(NotVerified):
            verify_certificate(file, read_keys([key]))


def test_a_key_that_checkpoints_are_signed_with_checks_no_certificate(
    signer: StatementSigner, tmp_path: Path
) -> None:
    """The worker has it, and runs networks that others wrote. The service lists it beside the others."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    theirs = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    pem, listed = tmp_path / "model.pem", tmp_path / "keys.json"
    pem.write_text(theirs)
    with pytest.raises(NotVerified, match="not an Ed25519 key"):
        read_keys([pem])
    ours = {"algorithm": "ed25519", "public_key": signer.public_key}
    listed.write_text(json.dumps({"data": [{"algorithm": "ecdsa-p256", "public_key": theirs}, ours]}))
    assert [each.keyid for each in read_keys([listed])] == [signer.key_id]
    listed.write_text(json.dumps({"data": [{"algorithm": "ed25519", "public_key": theirs}, ours]}))
    with pytest.raises(NotVerified, match="not an Ed25519 key"):
        read_keys([listed])


def test_the_command_exits_by_what_it_found(
    signer: StatementSigner,
    key: Path,
    tmp_path: Path,
    command: Callable[..., Done],
    program: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    file, weights = tmp_path / "certificate.json", tmp_path / "version-2.safetensors"
    file.write_text(part(signer, "one"))
    weights.write_bytes(WEIGHTS)
    done = command("verify", file, "--key", key, "--checkpoint", weights)
    assert (done.returncode, done.stderr) == (0, "")
    assert "version-2.safetensors is the certified checkpoint" in done.stdout
    assert "NOT proven:\n  - Fünf" in done.stdout
    weights.write_bytes(WEIGHTS[:-1] + b"x")
    refused: list[Done | subprocess.CompletedProcess[str]]
    refused = [command("verify", file, "--key", key, "--checkpoint", weights)]
    file.write_bytes(file.read_bytes().replace(b"ey", b"fy", 1))
    refused.append(program("verify", file, "--key", key))
    file.unlink()
    refused.append(command("verify", file, "--key", key))
    for each in refused:
        assert (each.returncode, each.stdout) == (1, "")
        assert each.stderr.startswith("NOT VERIFIED. ")
