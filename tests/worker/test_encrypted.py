"""The whole way with encryption switched on, to a statement that says what it is worth."""

import base64
import json
from pathlib import Path

import pytest
from sqlalchemy.orm import sessionmaker

from app.certificates.disposal import disposal_predicate, read_disposal
from app.core.settings import Settings
from app.core.signing import configured_signer
from app.relay.certification import Certifier
from app.relay.disposal import remove_orphans
from app.relay.life import delete_versions, quarantine_versions
from models import RegisteredModel
from tests.worker.conftest import validate
from tests.worker.tiny import Tiny
from tests.worker.world import World
from worker.equipment import Equipment
from worker.run import run_next


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "master").write_text("ab" * 32)
    keys = {"master_key_file": str(tmp_path / "master"), "key_store_url": f"file://{tmp_path}/keys"}
    return settings.model_copy(update=keys)


@pytest.fixture
def model(world: World, tiny: Tiny, equipment: Equipment) -> RegisteredModel:
    """Stored by this very service: encrypted."""
    return validate(world, tiny, equipment)


def test_nothing_is_called_cryptographically_erased_that_was_not(
    world: World, equipment: Equipment, model: RegisteredModel
) -> None:
    """All that remembered has to have been encrypted, what runs left behind included, with keys of the very
    store that is asked, which are gone."""
    _, request = world.job_with_request(model, instances=["p0"])
    assert run_next(equipment)
    world.execute(
        """UPDATE registered_models SET policy = policy || '{"quarantine_after": 0, "delete_after": 0}'"""
    )
    relay = sessionmaker(world.engine)
    assert (quarantine_versions(relay), delete_versions(relay, equipment.storage)) == (1, 1)
    while remove_orphans(relay, equipment.storage, 0, 0):
        pass
    first = "id = (SELECT artifact_id FROM model_versions WHERE number = 1)"
    path, store = world.rows(f"SELECT path, key_store FROM artifacts WHERE {first}")[0]
    keys = equipment.storage.keys
    assert keys is not None

    def told() -> tuple[str, bool]:
        with world.change() as session:
            disposal = read_disposal(session, equipment.storage, request.id)
            assert disposal is not None
            predicate = disposal_predicate(disposal, "http://lethe")
        return predicate["disposed"][0]["how"], predicate["method"].startswith("cryptographically erased")

    assert told() == ("cryptographically erased", True)
    for other in (None, "another"):  # never encrypted, or with a key that this store knows nothing about
        world.execute(f"UPDATE artifacts SET key_store = :other WHERE {first}", other=other)
        assert told() == ("deleted", False)
    world.execute(f"UPDATE artifacts SET key_store = :store WHERE {first}", store=store)
    keys.for_writing(path)
    assert told() == ("deleted", False)
    keys.destroy(path)
    world.execute(  # a snapshot of before encryption was switched on
        "INSERT INTO artifacts (id, tenant_id, kind, path, state, sha256, size, job_id)"
        " SELECT gen_random_uuid(), tenant_id, 'snapshot', 'a/snapshot', 'deleted', '\\x00', 1, id FROM jobs"
        " WHERE kind = 'unlearn'"
    )
    assert told() == ("cryptographically erased", False)


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
