"""A look at networks whose past is known: one that forgot nothing, and one that never learned it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.engine.digits_problem import CPU, SPECS, build, digits
from worker.audit.looking import look
from worker.audit.subject import Effort, Subject
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
    for name, version in (("remembers", original), ("never learned", learned(forgotten, seed=2))):
        subject = Subject(
            version, original, build, SPECS, RECIPE, data, calibration, audit, forgotten, forgotten
        )
        with work_folder(cache, "networks of both") as folder:
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
        relearning = found["tasks"][task]["relearning"]
        assert relearning["version"]["passes"] == 0
        assert relearning["version"]["seen"] is not False
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
