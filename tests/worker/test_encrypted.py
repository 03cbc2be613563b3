"""The whole way with encryption switched on, to a statement that says what it is worth."""

import base64
import json
from pathlib import Path

import pytest
from sqlalchemy.orm import sessionmaker

from app.core.settings import Settings
from app.core.signing import configured_signer
from app.relay.certification import Certifier
from app.relay.disposal import remove_orphans
from app.relay.life import delete_versions, quarantine_versions
from models import RegisteredModel
from tests.worker.world import World
from worker.equipment import Equipment
from worker.run import run_next


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "master").write_text("ab" * 32)
    keys = {"master_key_file": str(tmp_path / "master"), "key_store_url": f"file://{tmp_path}/keys"}
    return settings.model_copy(update=keys)


def test_a_version_is_made_superseded_and_cryptographically_erased(
    world: World, equipment: Equipment, model: RegisteredModel, settings: Settings, tmp_path: Path
) -> None:
    _, request = world.job_with_request(model, instances=["p0"])
    assert run_next(equipment)
    assert world.request(request.id).status == "succeeded"
    stored = [file for file in (tmp_path / "storage").rglob("*") if file.is_file()]
    assert len(stored) >= 2
    assert all(
        b"__metadata__" not in file.read_bytes() and b'"dtype"' not in file.read_bytes() for file in stored
    )

    world.execute(
        """UPDATE registered_models SET policy = policy || '{"quarantine_after": 0, "delete_after": 0}'"""
    )
    relay = sessionmaker(world.engine)
    signer = configured_signer(settings)
    assert signer is not None
    certifier = Certifier(relay, equipment.storage, signer, "http://lethe")
    assert certifier.certify_unlearning() == 1
    assert quarantine_versions(relay) == 1
    assert certifier.certify_disposals() == 0
    assert delete_versions(relay, equipment.storage) == 1
    while remove_orphans(relay, equipment.storage, 0, 0):
        pass
    assert certifier.certify_disposals() == 1
    envelope = world.value("SELECT envelope FROM certificates WHERE kind = 'disposal'")
    told = json.loads(base64.b64decode(json.loads(envelope)["payload"]))["predicate"]
    assert [(each["version"], each["how"]) for each in told["disposed"]] == [(1, "cryptographically erased")]
    assert told["method"].startswith("cryptographically erased")
    assert "copy of the destroyed keys" in told["does_not_prove"][1]
    kept = world.rows("SELECT path FROM artifacts WHERE state = 'stored'")
    keys = [file for file in (tmp_path / "keys").rglob("*") if file.is_file() and file.name != "identity"]
    assert [str(file.relative_to(tmp_path / "keys")) for file in keys] == [row.path for row in kept]
