"""A look at networks whose past is known: one that forgot nothing, and one that never learned it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.engine.digits_problem import CPU, SPECS, build, digits
from worker.audit.looking import look
from worker.audit.subject import Effort, Subject
from worker.audit.trained import references
from worker.audit.work_folder import work_folder
from worker.engine.contract import Recipe, Silent
from worker.engine.randomness import derived_generator
from worker.engine.training import train

RECIPE = Recipe(learning_rate=4e-3, epochs=30, batch_size=32, schedule="linear")
EFFORT = Effort(references=4, retrained=3, orders=1)
FORGOTTEN = 60


def learned(without: torch.Tensor, seed: int) -> nn.Module:
    data, _, _ = digits()
    network = build(derived_generator(seed, "network"))
    train(network, SPECS, data, data.present & ~without, RECIPE, seed=seed, device=CPU, monitor=Silent())
    return network.eval()


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By what the version is: the original itself, or a network retrained without digits and turns."""
    data, calibration, audit = digits()
    forgotten = torch.zeros_like(data.present)
    forgotten[:FORGOTTEN, :2] = True
    original = learned(torch.zeros_like(forgotten), seed=1)
    cache: Path = tmp_path_factory.mktemp("looks")
    found = {}
    with work_folder(cache, "networks of both") as folder:
        for name, version in (("remembers", original), ("never learned", learned(forgotten, seed=2))):
            subject = Subject(
                version, original, build, SPECS, RECIPE, data, calibration, audit, forgotten, forgotten
            )
            found[name] = look(subject, EFFORT, folder, CPU, lambda what, share: None)
    return found


def test_a_version_that_forgot_nothing_is_found_out(looks: dict[str, dict[str, Any]]) -> None:
    found = looks["remembers"]
    assert set(found["tasks"]) == {"digit", "turn"}
    for task in ("digit", "turn"):
        rmia = found["tasks"][task]["attacks"]["rmia"]
        assert rmia["version"]["auc"] > 0.7
        assert rmia["version"]["auc"] == rmia["original"]["auc"]
        assert rmia["version"]["seen"]
        assert rmia["version_int8"]["seen"]
        for rounding in ("version_int8", "version_bfloat16"):
            assert rmia[rounding] != rmia["version"], "other weights, other answers"
        relearning = found["tasks"][task]["relearning"]
        assert relearning["version"]["passes"] == 0
        assert relearning["version"]["seen"] is not False
        assert any(said.startswith(f"SEEN: RMIA tells forgotten {task!r}") for said in found["findings"])
    assert found["findings"][0].startswith("SEEN: ")
    assert found["rounding"]["int8"]["unmoved"] == 1.0


def test_a_network_that_never_learned_it_is_not_accused(looks: dict[str, dict[str, Any]]) -> None:
    found = looks["never learned"]
    for task in ("digit", "turn"):
        rmia = found["tasks"][task]["attacks"]["rmia"]
        assert not rmia["version"]["seen"]
        assert rmia["original"]["auc"] > 0.7
        assert rmia["version"]["auc"] < rmia["original"]["auc"] - 0.1
        assert found["tasks"][task]["relearning"]["version"]["passes"] != 0
    assert not any(said.startswith("SEEN") and "RMIA" in said for said in found["findings"])


def test_there_are_as_many_references_as_asked_for_and_each_learns_half(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of every instance, half of them say what a network says that never saw it."""
    data, calibration, audit = digits()
    nothing = torch.zeros_like(data.present)
    blank = build(derived_generator(0, "network"))
    subject = Subject(blank, None, build, SPECS, RECIPE, data, calibration, audit, nothing, nothing)
    trained: list[torch.Tensor] = []

    def train_none(subject: Subject, left_out: torch.Tensor, *_: object) -> nn.Module:
        trained.append(left_out)
        return blank

    monkeypatch.setattr("worker.audit.trained._network", train_none)
    with work_folder(tmp_path, "references") as folder:
        made = list(references(subject, Effort(references=6), folder, CPU, lambda what, share: None))
    without = torch.stack([left_out for _, left_out in made])
    assert torch.equal(without, torch.stack(trained))
    assert without.shape == (6, len(data))
    assert without.sum(dim=0).tolist() == [3] * len(data)
    assert abs(int(without[0].sum()) - len(data) / 2) <= 1
    assert not torch.equal(without[0], without[2])
