"""examples/delete.sh does what it says: with jq where there is one, and without."""

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import lethe
from lethe.certificate import verify_certificate
from lethe.keys import read_keys
from tests.acceptance.conftest import Sample, Service, make_sample, register

SCRIPT = Path(__file__).parents[2] / "examples" / "delete.sh"
PROGRAMS = ("bash", "cat", "curl", "cut", "mkdir", "mktemp", "mv", "rm", "sed", "sha256sum", "sleep")


@pytest.fixture(scope="module")
def sample(service: Service) -> tuple[str, Sample]:
    name = f"s-{uuid.uuid4().hex[:8]}"
    made = make_sample(service.data / name)
    assert register(service, made, name)["status"] == "ready"
    return name, made


@pytest.mark.parametrize("json_reader", ["jq", "python3"])
def test_posts_waits_verifies_and_keeps(
    service: Service, sample: tuple[str, Sample], json_reader: str, tmp_path: Path
) -> None:
    model, made = sample
    programs, kept, ids = tmp_path / "bin", tmp_path / "kept", tmp_path / "ids.txt"
    programs.mkdir()
    for program in PROGRAMS:
        found = shutil.which(program)
        assert found, f"this test needs {program}"
        (programs / program).symlink_to(found)
    (programs / "python3").symlink_to(sys.executable)
    lethe_program = programs / "lethe"
    lethe_program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lethe "$@"\n')
    lethe_program.chmod(0o755)
    if json_reader == "jq" and (jq := shutil.which("jq")):  # a machine without it does the same twice
        (programs / "jq").symlink_to(jq)
    first = 40 if json_reader == "jq" else 60
    ids.write_text("\n".join(made.ids[first : first + 20]) + "\n")

    def run(tasks: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [SCRIPT, model, tasks, ids, kept],
            env={
                "PATH": str(programs),
                "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
                "LETHE_URL": service.url,
                "LETHE_API_KEY": service.key,
                "LETHE_PAUSE": "0.2",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("colour")
    assert done.returncode == 0, done.stdout + done.stderr
    again = run("colour")
    assert again.stdout.splitlines()[0] == done.stdout.splitlines()[0]
    [certificate] = kept.glob("certificate-*.json")
    assert str(certificate) in done.stdout
    verify_certificate(certificate, read_keys([kept / "signing-keys.json"]))
    with lethe.Client(service.url, service.key) as client:
        request = client.get_request(certificate.stem.removeprefix("certificate-"))
    assert (request.tasks, request.instance_count, request.status) == (["colour"], 20, "succeeded")

    refused = run("colour,nonsense")
    assert (refused.returncode, "unknown_task" in refused.stderr) == (1, True), refused.stderr
    assert service.key not in done.stdout + done.stderr + refused.stderr
    assert {file.name for file in kept.iterdir()} == {certificate.name, "signing-keys.json"}
