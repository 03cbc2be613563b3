"""A stronger look at a published version, on a real database: what it finds, keeps and refuses."""

import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from app.core.canonical import canonical
from models import RegisteredModel
from tests.worker.tiny import Tiny
from tests.worker.world import World
from worker.audit.__main__ import main
from worker.audit.command import Stored, audit
from worker.audit.subject import Effort
from worker.audit.work_folder import SECONDS_TO_GO_ON, work_folder
from worker.engine.contract import Refused
from worker.equipment import Equipment
from worker.run import run_next

SMALL = Effort(references=2, retrained=2, orders=1)
FORGOTTEN = [f"p{number}" for number in range(60)]


def silent(what: str, share: float) -> None:
    return None


def look(
    equipment: Equipment,
    model: RegisteredModel,
    number: int = 2,
    effort: Effort = SMALL,
    tell: Callable[[str, float], None] = silent,
) -> Stored:
    return audit(equipment, model.name, number, None, effort, torch.device("cpu"), tell)


@pytest.fixture
def forgetful(world: World, equipment: Equipment, model: RegisteredModel) -> RegisteredModel:
    """Version 2 has forgotten the colours of sixty instances and the sizes of ten, by retraining."""
    world.job_with_request(model, instances=FORGOTTEN, tasks=["colour"])
    assert run_next(equipment)
    world.job_with_request(model, instances=FORGOTTEN[:10], tasks=["size"])
    assert run_next(equipment)
    return model


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(Refused) as refused:
        act()
    return refused.value.code


def test_a_look_that_was_killed_goes_on_and_its_report_is_kept_with_the_version(
    world: World, equipment: Equipment, forgetful: RegisteredModel, tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def die_at_the_third(what: str, share: float) -> None:
        if "retrained-1" in what:
            raise Killed

    with pytest.raises(Killed):
        look(equipment, forgetful, 3, tell=die_at_the_third)
    networks = {
        file.name: file.stat().st_mtime_ns for file in (tmp_path / "cache").glob("audits/*/*.safetensors")
    }
    assert set(networks) == {"reference-1.safetensors", "reference-2.safetensors"}
    assert world.value("SELECT count(*) FROM events WHERE type = 'version.audited'") == 0

    trained: list[str] = []
    shares: list[float] = []

    def listen(what: str, share: float) -> None:
        shares.append(share)
        trained.append(what)
        found = (tmp_path / "cache").glob("audits/*/reference-*.safetensors")
        assert {file.name: file.stat().st_mtime_ns for file in found} == networks  # taken up, not made anew

    stored = look(equipment, forgetful, 3, tell=listen)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert not list((tmp_path / "cache").glob("audits/*"))  # no network is left lying about
    assert [key for key, _ in itertools.groupby(trained)][-1] == "relearning"

    report = stored.report
    assert (report["model"], report["version"], report["original_attacked"]) == (forgetful.name, 3, True)
    assert set(report["tasks"]) == {"colour"}  # of sizes too few were forgotten
    assert report["too_few"] == {"size": 9}  # p3 never had one
    colour = report["tasks"]["colour"]
    assert (colour["forgotten"], colour["held_out"]) == (60, 70)
    for attack in ("loss", "rmia", "unusual"):
        found = colour["attacks"][attack]
        assert {"original", "version", "version_int8", "version_bfloat16", "retrained"} == set(found)
        low, high = found["version"]["auc_interval"]
        assert low < found["version"]["auc"] < high
        assert len(found["retrained"]["each"]) == 2
    assert colour["relearning"]["original"]["passes"] == 0
    assert report["findings"]
    assert report["not_shown"]

    # Kept in the version's history, its digest in the log that is chained; and nothing names an instance.
    [(subject, data)] = world.rows("SELECT subject_id, data FROM events WHERE type = 'version.audited'")
    assert subject == world.value("SELECT id FROM model_versions WHERE number = 3")
    assert data["audit"] == str(stored.audit_id)
    digest = f"sha256:{hashlib.sha256(canonical(data['report'])).hexdigest()}"
    [(actor, logged)] = world.rows("SELECT actor, data FROM audit_log WHERE action = 'version.audited'")
    assert actor.startswith("operator:")
    assert logged == {"audit": str(stored.audit_id), "digest": digest}
    assert '"p1"' not in canonical(report).decode()


def test_a_look_takes_no_job_and_learns_nothing_that_was_ever_forgotten(
    world: World, equipment: Equipment, forgetful: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 2 is looked at after version 3: what that one forgot must not be learned again either."""
    seen: list[torch.Tensor] = []

    def remember(subject: object, *_: object) -> None:
        seen.append(subject.barred)  # type: ignore[attr-defined]
        raise Refused("stop", "Enough was seen.")

    monkeypatch.setattr("worker.audit.command.look", remember)
    waiting = world.open_job(forgetful)
    before = world.rows("SELECT id, status, fence, lease_holder FROM jobs ORDER BY id")
    assert refusal(lambda: look(equipment, forgetful)) == "stop"
    assert world.rows("SELECT id, status, fence, lease_holder FROM jobs ORDER BY id") == before
    assert world.job(waiting.id).status == "queued"
    [barred] = seen
    assert barred[:, 0].nonzero().flatten().tolist() == list(range(60))
    assert barred[:, 1].nonzero().flatten().tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]  # p3 never had a size


def test_what_cannot_mean_anything_is_refused(
    world: World, equipment: Equipment, model: RegisteredModel, tiny: Tiny, tmp_path: Path
) -> None:
    assert refusal(lambda: look(equipment, model, 1)) == "nothing_forgotten"
    assert refusal(lambda: look(equipment, model, 7)) == "version_not_found"
    nobody = torch.device("cpu")
    assert refusal(lambda: audit(equipment, "no", 1, None, SMALL, nobody, silent)) == "model_not_found"
    assert (
        refusal(lambda: audit(equipment, model.name, 1, "other", SMALL, nobody, silent)) == "model_not_found"
    )
    world.job_with_request(model, instances=FORGOTTEN[:49])
    assert run_next(equipment)
    with pytest.raises(Refused, match=r"At least 50 .* colour 49, size 48") as small:
        look(equipment, model)
    assert small.value.code == "forget_set_too_small"
    lonely = Effort(references=1, retrained=2)
    assert refusal(lambda: look(equipment, model, effort=lonely)) == "too_few_networks"

    world.execute("UPDATE registered_models SET recipe = '{}'")
    assert refusal(lambda: look(equipment, model)) == "recipe_missing"
    world.execute("UPDATE registered_models SET recipe = '{\"epochs\": 4}'")
    [(digest,)] = world.rows("SELECT fingerprint FROM datasets")
    world.execute("UPDATE datasets SET fingerprint = 'another'")
    assert refusal(lambda: look(equipment, model)) == "data_changed"
    world.execute("UPDATE datasets SET fingerprint = :digest", digest=digest)
    forgotten = "SELECT instance_hash FROM forgotten_supervision"
    world.execute(f"DELETE FROM dataset_instances WHERE instance_hash IN ({forgotten})")
    assert refusal(lambda: look(equipment, model)) == "rows_gone"
    [(path,)] = world.rows(
        "SELECT a.path FROM artifacts a JOIN model_versions v ON v.artifact_id = a.id WHERE v.number = 2"
    )
    file = Path(equipment.settings.storage_url.removeprefix("file://")) / path
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    world.execute("UPDATE model_versions SET state = 'quarantined' WHERE number = 1")
    assert refusal(lambda: look(equipment, model, 1)) == "version_not_served"


def test_the_command_prints_what_it_found_or_why_it_did_not_look(
    equipment: Equipment, forgetful: RegisteredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered: list[int] = []
    monkeypatch.setattr("worker.audit.__main__.get_settings", lambda: equipment.settings)
    monkeypatch.setattr(os, "nice", lowered.append)  # this process runs other tests, too
    command = typer.Typer()
    command.command()(main)
    asked = ["--model", str(forgetful.id), "--references", "4", "--retrained", "3", "--seed", "5"]

    done = CliRunner().invoke(command, [*asked, "--version", "2", "--output", str(tmp_path / "report.json")])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["effort"] == {"references": 4, "retrained": 3, "orders": 3, "seed": 5}
    assert done.stdout.splitlines()[: len(report["findings"])] == report["findings"]
    assert "Not shown: That nothing is left" in done.stdout
    assert lowered == [10]

    refused = CliRunner().invoke(command, [*asked, "--version", "1"])
    assert refused.exit_code == 1
    assert "nothing_forgotten: This version has forgotten nothing" in refused.stderr


def test_two_of_the_same_do_not_run_at_once(tmp_path: Path) -> None:
    with (
        work_folder(tmp_path, "the same") as held,
        pytest.raises(Refused, match="another process"),
        work_folder(tmp_path, "the same"),
    ):
        pass
    old = time.time() - 1.01 * SECONDS_TO_GO_ON
    for file in held.path.glob("*"):
        os.utime(file, (old, old))
    with work_folder(tmp_path, "another"):
        assert not held.path.exists()  # nobody went on with it
    held.path.mkdir()
    monitor = held.monitor("reference-1", lambda *_: None)
    monitor.save({"step": 3, "network": {"weight": torch.ones(2)}})
    resumed = monitor.resume()
    assert resumed is not None
    assert resumed["step"] == 3
    (held.path / "reference-1.snapshot").write_bytes(b"cut short")
    assert monitor.resume() is None
    (held.path / "reference-1.safetensors").write_bytes(b"cut short")
    assert held.network("reference-1", torch.nn.Linear(1, 1)) is None
