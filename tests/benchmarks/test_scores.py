"""Figures: retraining compared with itself is perfect, and AUC distances have honest errors."""

import torch

from benchmarks.unlearning.looks import Look, Parts
from benchmarks.unlearning.membership_distance import membership_distance, placements
from benchmarks.unlearning.scores import score
from worker.engine.contract import TaskSpec
from worker.engine.evaluation.membership import area_under_curve
from worker.engine.measurement import Measurement

SPECS = (TaskSpec("a", "classification", 2), TaskSpec("b", "classification", 2))


def _look(forget: float, retain: float, test: float, seed: int = 0) -> Look:
    """A network with the given shares right, the same for both tasks."""
    generator = torch.Generator().manual_seed(seed)

    def measured(share: float, count: int) -> Measurement:
        scores = torch.zeros(count, 2)
        scores[: round(share * count)] = 1.0
        return Measurement(
            torch.rand(count, 2, generator=generator), scores, torch.ones(count, 2, dtype=torch.bool), {}
        )

    return Look(measured(forget, 20), measured(retain, 50), measured(test, 100))


def _parts() -> Parts:
    named = torch.tensor([[True, False]]).expand(20, 2)
    return Parts(torch.arange(20), torch.arange(20, 70), named, ~named)


def test_a_network_like_the_retrained_has_no_gap() -> None:
    retrained = _look(0.5, 1.0, 0.6)
    found = score(SPECS, _parts(), _look(1.0, 1.0, 0.6), retrained, [retrained, retrained])
    assert found["average_gap"] == 0
    assert found["tow"] == 1
    assert found["auc_distance"] == 0
    assert found["auc_distance_error"] == 0


def test_gaps_uis_and_tow_are_what_they_say() -> None:
    original, network = _look(1.0, 1.0, 0.8), _look(0.75, 0.9, 0.76, seed=1)
    found = score(SPECS, _parts(), original, network, [_look(0.5, 1.0, 0.8), _look(0.6, 1.0, 0.8)])
    named, other = found["tasks"]["a"], found["tasks"]["b"]
    assert abs(named["gaps"]["forget"] - 20) < 1e-4
    assert abs(named["gaps"]["retain"] - 10) < 1e-4
    assert abs(named["gaps"]["test"] - 4) < 1e-4
    assert abs(named["tow"] - 0.8 * 0.9 * 0.96) < 1e-6
    assert abs(named["uis"] - 50 * (4 / 80 + 5 / 80)) < 1e-4
    assert abs(other["uis"] - 50 * (4 / 80 + 25 / 100)) < 1e-4
    assert "membership" in named
    assert "membership" not in other
    assert abs(found["forget_gap"] - 20) < 1e-4


def test_placements_average_to_the_auc() -> None:
    generator = torch.Generator().manual_seed(3)
    members = torch.randint(0, 8, (41,), generator=generator).float()
    non_members = torch.randint(1, 10, (67,), generator=generator).float()
    left, right = placements(members, non_members)
    expected = area_under_curve(members, non_members)
    assert abs(float(left.mean()) - expected) < 1e-9
    assert abs(float(right.mean()) - expected) < 1e-9


def test_the_standard_error_is_that_of_repeated_draws() -> None:
    """Two networks whose losses go together: the paired error, by drawing 600 times."""
    generator = torch.Generator().manual_seed(0)
    differences, errors = [], []
    for _ in range(600):
        shared, other = torch.randn(30, generator=generator), torch.randn(60, generator=generator)
        noise = [torch.randn(size, generator=generator) for size in (30, 60, 30, 60)]
        found = membership_distance(
            shared + noise[0] - 0.5, other + noise[1], [shared + noise[2]], [other + noise[3]]
        )
        differences.append(found.auc - found.reference)
        errors.append(found.standard_error)
    drawn = float(torch.tensor(differences).std())
    assert abs(sum(errors) / len(errors) - drawn) < 0.15 * drawn
