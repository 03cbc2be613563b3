"""Checkpoints are signed so that the tool of OpenSSF model-signing verifies them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.core.settings import Settings
from app.core.storage import Storage
from models import RegisteredModel
from tests.worker.world import World
from worker.equipment import Equipment
from worker.pipeline.sign import sign_checkpoint
from worker.run import run_next


def verify(folder: Path, checkpoint: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            *(sys.executable, "-m", "model_signing", "verify", "key", str(checkpoint)),
            *("--signature", str(folder / "model.sig"), "--public_key", str(folder / "key.pem")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_published_checkpoint_verifies_with_the_projects_own_tool(
    world: World, equipment: Equipment, model: RegisteredModel, tmp_path: Path
) -> None:
    world.job_with_request(model, instances=["p0"])
    assert run_next(equipment)
    [(signature, path)] = world.rows(
        "SELECT report -> 'signature', a.path FROM model_versions v JOIN artifacts a ON a.id = v.artifact_id"
        " WHERE v.number = 2"
    )
    (tmp_path / "model.sig").write_text(json.dumps(signature["bundle"]))
    (tmp_path / "key.pem").write_text(signature["public_key"])
    checkpoint = tmp_path / "downloaded-under-another-name.safetensors"
    Storage(equipment.settings.storage_url).copy_to(path, checkpoint)
    done = verify(tmp_path, checkpoint)
    assert (done.returncode, "succeeded" in done.stdout) == (0, True), done.stdout + done.stderr
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1] + b"x")
    assert verify(tmp_path, checkpoint).returncode != 0


def test_without_a_key_nothing_is_signed_and_a_wrong_one_is_named(settings: Settings, tmp_path: Path) -> None:
    without = settings.model_copy(update={"model_signing_key": None})
    assert sign_checkpoint(without, tmp_path / "any", tmp_path) is None
    wrong = settings.model_copy(update={"model_signing_key": SecretStr("zz")})
    with pytest.raises(ValueError, match="LETHE_MODEL_SIGNING_KEY must be 64"):
        sign_checkpoint(wrong, tmp_path / "any", tmp_path)


def test_the_key_leaves_no_file_behind(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"weights")
    assert sign_checkpoint(settings, tmp_path / "checkpoint", tmp_path) is not None
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint", "signature.json"]
