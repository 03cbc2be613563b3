"""From a run of the worker to a signed certificate that a stranger can check."""

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.certificates.facts import Facts, read_facts
from app.certificates.page import render
from app.core.database import relay_url, sync_engine
from app.core.hashing import hash_instances
from app.core.settings import Settings
from app.core.signing import StatementSigner
from app.core.storage import Storage
from app.relay import certification
from app.relay.certification import _MAYBE_DISPOSED, Certifier
from lethe.certificate import verify_certificate
from lethe.findings import NotVerified
from lethe.keys import read_keys
from models import RegisteredModel
from tests.worker.tiny import Tiny
from tests.worker.world import World
from worker.equipment import Equipment
from worker.run import run_next


@pytest.fixture
def certifier(settings: Settings, equipment: Equipment) -> Any:
    engine = sync_engine(settings, relay_url(settings), "lethe-relay")
    sessions: sessionmaker[Session] = sessionmaker(engine)
    yield Certifier(sessions, equipment.storage, StatementSigner(bytes(range(32))), "http://lethe")
    engine.dispose()


def envelope(world: World, request_id: object, kind: str = "unlearning") -> str:
    found: str = world.value(
        "SELECT envelope FROM certificates WHERE deletion_request_id = :id AND kind = :kind"
        " ORDER BY id DESC LIMIT 1",
        id=request_id,
        kind=kind,
    )
    return found


def statement(text: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(base64.b64decode(json.loads(text)["payload"]))
    return read


def reopen(world: World, model: RegisteredModel) -> None:
    """As when an administrator takes the model back: what was carried out waits to be so again."""
    world.execute("UPDATE forgotten_supervision SET version_id = NULL")
    again = world.open_job(model)
    world.execute(
        "UPDATE deletion_requests SET status = 'queued', result_version_id = NULL, finished_at = NULL,"
        " job_id = :job",
        job=again.id,
    )


def keys(certifier: Certifier, folder: Path) -> list[Any]:
    file = folder / "key.pem"
    file.write_text(certifier.signer.public_key)
    return read_keys([file])


def test_the_statement_says_what_was_asked_done_and_measured(
    world: World, equipment: Equipment, model: RegisteredModel, certifier: Certifier
) -> None:
    job = world.open_job(model, method="interference_aware")
    large = world.deletion(model, job, [f"p{number}" for number in range(60)], ["colour"])
    small = world.deletion(model, job, ["p3", "p100"], ["colour", "size"])
    assert run_next(equipment)
    assert certifier.certify_unlearning() == 2
    assert certifier.certify_unlearning() == 0
    stated = statement(envelope(world, small.id))
    assert stated["_type"] == "https://in-toto.io/Statement/v1"
    [digest] = world.rows(
        "SELECT sha256 FROM artifacts a JOIN model_versions v ON v.artifact_id = a.id WHERE v.number = 2"
    )[0]
    assert stated["subject"] == [{"name": f"{model.name}@2", "digest": {"sha256": bytes(digest).hex()}}]
    told = stated["predicate"]
    hashes = sorted(
        each.hex() for each in hash_instances(["p3", "p100"], model.tenant_id, equipment.settings)
    )
    assert told["request"]["instances"]["hashes"] == hashes
    assert (told["outcome"], told["guarantee"], told["method"]) == (
        "unlearned",
        "empirical",
        "interference_aware",
    )
    # p3 has no size; and p3's colour was named by the large request, too.
    assert told["supervision"] == {
        "named": 4,
        "forgotten_by_this_version": 3,
        "forgotten_before": [],
        "never_present": 1,
    }
    assert told["since_last_training"] == {
        "trained_version": 1,
        "unlearned_versions": 1,
        "labels_unlearned": 62,
    }
    measured = told["measurements"]
    assert measured["requests_in_batch"] == 2
    assert set(measured["tasks"]) == {"colour", "size"}
    assert {entry["task"]: entry["measured_on"] for entry in measured["this_request"]} == {
        "colour": "batch of 61",
        "size": "batch of 1",
    }
    assert any("so few" in sentence for sentence in told["does_not_prove"])
    assert told["gates"]["passed"] is True
    assert told["base"]["digest"].startswith("sha256:")
    assert {"seed", "versions", "recipe", "policy"} <= set(told["run"])
    # Nothing in it names another's request, and no instance by its name.
    assert str(large.id) not in json.dumps(stated)
    assert "p100" not in json.dumps(stated)
    own = statement(envelope(world, large.id))["predicate"]["measurements"]["this_request"]
    assert [entry["measured_on"] for entry in own] == ["this request"]
    for request in (small, large):
        assert "Version 2 was made from version 1" in render([envelope(world, request.id)])
    audited = world.rows("SELECT subject_id, data FROM audit_log WHERE action = 'certificate.issue'")
    assert {row.subject_id for row in audited} == {large.id, small.id}


def test_it_verifies_with_the_checkpoint_and_not_with_one_byte_changed(
    world: World,
    equipment: Equipment,
    model: RegisteredModel,
    certifier: Certifier,
    tiny: Tiny,
    tmp_path: Path,
) -> None:
    _, request = world.job_with_request(model, instances=["p0"])
    assert run_next(equipment)
    certifier.certify_unlearning()
    file, checkpoint = tmp_path / "certificate.json", tmp_path / "version-2.safetensors"
    issued = envelope(world, request.id).encode()
    file.write_bytes(issued)
    path = world.value(
        "SELECT path FROM artifacts a JOIN model_versions v ON v.artifact_id = a.id WHERE v.number = 2"
    )
    Storage(equipment.settings.storage_url).copy_to(path, checkpoint)
    known = keys(certifier, tmp_path)
    text = verify_certificate(file, known, checkpoint).text()
    assert "version-2.safetensors is the certified checkpoint" in text
    assert "was trained anew without that supervision" in text
    assert "guarantee exact" in text
    not_proven = text.partition("NOT proven:")[2]
    assert "downloaded" in not_proven
    with pytest.raises(NotVerified, match="is not the certified checkpoint"):
        verify_certificate(file, known, tiny.checkpoint)
    # Every 31st byte of the file in turn, and every byte of where one part ends and another begins: the last
    # digits of the payload, in base64, and from there on the signature, which ends the file.
    ends = [issued.index(b'"', issued.index(b'"payload":"') + 11), len(issued) - 130]
    places = {*range(0, len(issued), 31), *range(ends[0] - 8, ends[0] + 8), *range(ends[1], len(issued))}
    for at in sorted(places):
        changed = bytearray(issued)
        changed[at] ^= 1
        file.write_bytes(changed)
        with pytest.raises(NotVerified):
            verify_certificate(file, known)
    for changed_length in (issued + b"\n", issued[:-1], b"", b"{}"):
        file.write_bytes(changed_length)
        with pytest.raises(NotVerified):
            verify_certificate(file, known)


def test_a_request_that_found_nothing_left_is_certified_as_that(
    world: World, equipment: Equipment, model: RegisteredModel, certifier: Certifier
) -> None:
    world.job_with_request(model, instances=["p0"], tasks=["colour"])
    assert run_next(equipment)
    job = world.open_job(model)
    again = world.deletion(model, job, ["p0"], ["colour"])
    assert run_next(equipment)
    assert certifier.certify_unlearning() == 2
    told = statement(envelope(world, again.id))["predicate"]
    assert (told["outcome"], told["guarantee"]) == ("nothing_left", None)
    assert told["supervision"]["forgotten_before"] == [{"version": 2, "guarantee": "exact", "labels": 1}]
    assert "measurements" not in told
    assert "Nothing of that was left to forget" in render([envelope(world, again.id)])


def test_a_result_that_changes_is_certified_anew_and_the_first_statement_stays(
    world: World, equipment: Equipment, model: RegisteredModel, certifier: Certifier
) -> None:
    """An administrator took the model back, and the request was carried out again."""
    _, request = world.job_with_request(model, instances=["p0"])
    assert run_next(equipment)
    assert certifier.certify_unlearning() == 1
    first = envelope(world, request.id)
    reopen(world, model)
    assert certifier.certify_unlearning() == 0
    assert run_next(equipment)
    assert certifier.certify_unlearning() == 1
    second = envelope(world, request.id)
    assert [statement(each)["predicate"]["result"]["version"] for each in (first, second)] == [2, 3]
    assert world.value("SELECT count(*) FROM certificates") == 2


def test_the_disposal_statement_waits_until_all_that_remembers_is_gone(
    world: World, equipment: Equipment, model: RegisteredModel, certifier: Certifier, tmp_path: Path
) -> None:
    _, request = world.job_with_request(model, instances=["p0"])
    assert run_next(equipment)
    certifier.certify_unlearning()
    assert certifier.certify_disposals() == 0
    for state in ("quarantined", "deleted"):
        world.execute("UPDATE model_versions SET state = :state WHERE number = 1", state=state)
    assert certifier.certify_disposals() == 0  # the row says so, but the bytes are there
    artifact = world.rows(
        "SELECT a.id, a.path FROM artifacts a JOIN model_versions v ON v.artifact_id = a.id"
        " WHERE v.number = 1"
    )[0]
    world.execute("UPDATE artifacts SET state = 'deleted' WHERE id = :id", id=artifact.id)
    assert certifier.certify_disposals() == 0
    equipment.storage.delete(artifact.path)
    left = world.value(  # a snapshot of the run that began from version 1
        "INSERT INTO artifacts (id, tenant_id, kind, path, state, sha256, size, job_id)"
        " SELECT gen_random_uuid(), tenant_id, 'snapshot', 'a/snapshot/b', 'stored', sha256('x'), 1,"
        " id FROM jobs WHERE kind = 'unlearn' RETURNING id"
    )
    assert certifier.certify_disposals() == 0
    world.execute("UPDATE artifacts SET state = 'deleted' WHERE id = :id", id=left)
    assert certifier.certify_disposals() == 1
    assert certifier.certify_disposals() == 0
    issued = envelope(world, request.id, "disposal")
    told = statement(issued)
    assert [subject["name"] for subject in told["subject"]] == [f"{model.name}@1"]
    file = tmp_path / "disposal.json"
    file.write_text(issued)
    text = verify_certificate(file, keys(certifier, tmp_path)).text()
    assert "had forgotten, version 1 of the model" in text
    assert "backups" in text.partition("NOT proven:")[2]
    assert "Disposal certificate" in render([issued])


def test_an_earlier_results_certificate_calls_for_no_disposal_statement(
    world: World, equipment: Equipment, model: RegisteredModel, certifier: Certifier
) -> None:
    """The request was carried out again by version 3; only version 1, before its first result, is gone."""
    _, request = world.job_with_request(model, instances=["p0"])
    assert run_next(equipment)
    assert certifier.certify_unlearning() == 1
    reopen(world, model)
    assert run_next(equipment)
    assert certifier.certify_unlearning() == 1
    for state in ("quarantined", "deleted"):
        world.execute("UPDATE model_versions SET state = :state WHERE number = 1", state=state)
    assert certifier._next("disposal", _MAYBE_DISPOSED) == []
    for state in ("quarantined", "deleted"):
        world.execute("UPDATE model_versions SET state = :state WHERE number = 2", state=state)
    assert certifier._next("disposal", _MAYBE_DISPOSED) == [request.id]


@pytest.mark.parametrize(
    "error", [KeyError("run"), OperationalError("SELECT", {}, Exception("cancelled")), OSError()]
)
def test_what_cannot_be_certified_stands_in_nobodys_way(
    world: World,
    equipment: Equipment,
    model: RegisteredModel,
    certifier: Certifier,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """Two at a time; the two oldest fail for ever, and the younger one gets its certificate."""
    job = world.open_job(model)
    *failing, fine = [world.deletion(model, job, [f"p{number}"]) for number in range(3)]
    assert run_next(equipment)

    def read(session: Session, request_id: uuid.UUID) -> Facts:
        if request_id != fine.id:
            raise error
        return read_facts(session, request_id)

    monkeypatch.setattr(certification, "AT_ONCE", 2)
    monkeypatch.setattr(certification, "read_facts", read)
    assert [certifier.certify_unlearning() for _ in range(2)] == [0, 1]
    monkeypatch.setattr(certification, "read_facts", read_facts)
    assert certifier.certify_unlearning() == len(failing)


def test_a_small_requests_certificate_claims_no_bound_that_was_not_measured(
    world: World, equipment: Equipment, model: RegisteredModel, certifier: Certifier, tmp_path: Path
) -> None:
    job = world.open_job(model, method="interference_aware")
    request = world.deletion(model, job, ["p0", "p1"], ["colour"])
    assert run_next(equipment)
    assert certifier.certify_unlearning() == 1
    issued = envelope(world, request.id)
    gates = statement(issued)["predicate"]["gates"]
    assert {each["gate"] for each in gates["decided"]} == {"retained_drop"}
    gaps = {(each["gate"], each["task"]) for each in gates["not_measured"]}
    assert ("forget_excess", "colour") in gaps
    file = tmp_path / "certificate.json"
    file.write_text(issued)
    text = verify_certificate(file, keys(certifier, tmp_path)).text()
    proven, _, not_proven = text.partition("NOT proven:")
    assert "loss on retained supervision" in proven
    assert "could not be measured" not in proven
    assert "too few to measure (2 forgotten" in not_proven
    page = render([issued])
    assert "Too few to tell by this score (2 forgotten" in page
    assert "too few to measure (2 forgotten" in page
    assert "cannot be told from data never seen" not in page
