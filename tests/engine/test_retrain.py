"""Exact retraining, and the training loop beneath it."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.engine.digits_problem import (
    CPU,
    INSTANCES,
    RECIPE,
    SPECS,
    Held,
    build,
    digits,
    problem,
    request,
    same_bits,
)
from tests.engine.runs import Recorder
from worker.engine.baselines.retrain import Retrain
from worker.engine.contract import Batch, Budget, Interrupted, Recipe, Refused, Silent
from worker.engine.descent import Descent
from worker.engine.methods import METHODS
from worker.engine.randomness import borrowed_global_generator, derived_generator
from worker.engine.training import train

SHORT = Recipe(learning_rate=4e-3, epochs=2, batch_size=32)


def test_registered_with_their_guarantees() -> None:
    guarantees = {name: method.guarantee for name, method in METHODS.items()}
    assert guarantees["retrain"] == "exact"
    assert guarantees["interference_aware"] == "empirical"
    assert all(method.name == name for name, method in METHODS.items())


def test_forgotten_labels_have_no_influence_at_all() -> None:
    """Retraining on data whose forgotten labels differ gives the same bits: that is what exact means."""
    data, _, _ = digits()
    rows = torch.arange(30)
    batch = data.fetch(torch.arange(len(data)))
    changed = {name: values.clone() for name, values in batch.targets.items()}
    changed["digit"][rows] = (changed["digit"][rows] + 3) % 10
    other = Held(list(data.ids), Batch(batch.inputs, changed, batch.present))
    asked = request(range(30), (0,))
    outcomes = [
        Retrain()(problem(asked, train=source, recipe=SHORT), Budget(), seed=3, device=CPU, monitor=Silent())
        for source in (data, other)
    ]
    assert same_bits(outcomes[0].network, outcomes[1].network)
    assert outcomes[0].guarantee == "exact"


def with_dropout(generator: torch.Generator) -> nn.Module:
    """Its masks come from the global generators."""
    network = build(generator)
    network.shared.append(nn.Dropout(0.2))  # type: ignore[operator, union-attr]
    return network


@pytest.mark.parametrize("build", [build, with_dropout])
def test_resumes_to_the_same_bits(build: Callable[[torch.Generator], nn.Module]) -> None:
    network = build(derived_generator(1, "network"))
    asked = problem(request(range(30), (0,)), recipe=SHORT, build=build, network=network)
    method = Retrain(snapshot_seconds=0.0)
    expected = method(asked, Budget(), seed=3, device=CPU, monitor=Silent())
    broken = Recorder(interrupt_after=7)
    with pytest.raises(Interrupted):
        method(asked, Budget(), seed=3, device=CPU, monitor=broken)
    resumed = Recorder(saved=broken.saved)
    outcome = method(asked, Budget(), seed=3, device=CPU, monitor=resumed)
    assert same_bits(outcome.network, expected.network)
    assert outcome.passes == expected.passes
    assert resumed.calls[-1][0] == resumed.calls[-1][1]


def test_the_generators_of_a_device_are_seeded_as_torch_seeds_them() -> None:
    with borrowed_global_generator(11, CPU):
        drawn = torch.rand(3)
        torch.manual_seed(11)
        assert torch.equal(drawn, torch.rand(3))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_every_optimizer_and_schedule_learns(optimizer: str, schedule: str) -> None:
    data, _, _ = digits()
    rate = 0.05 if optimizer == "sgd" else 4e-3
    recipe = Recipe(optimizer=optimizer, schedule=schedule, learning_rate=rate, epochs=4)  # type: ignore[arg-type]
    network = build(derived_generator(1, "network"))
    everything = data.fetch(torch.arange(INSTANCES))

    def loss() -> float:
        with torch.no_grad():
            return float(
                torch.nn.functional.cross_entropy(
                    network(everything.inputs)["turn"], everything.targets["turn"]
                )
            )

    before = loss()
    train(network, SPECS, data, data.present, recipe, seed=1, device=CPU, monitor=Silent())
    assert loss() < before


def test_schedules_begin_at_the_peak_and_end_near_nothing() -> None:
    for schedule in ("linear", "cosine"):
        descent = Descent(steps=100, batch_size=1, learning_rate=2.0, schedule=schedule)  # type: ignore[arg-type]
        assert descent.rate(0) == 2.0
        assert descent.rate(99) < 0.05
    assert Descent(steps=100, batch_size=1, learning_rate=2.0).rate(99) == 2.0


def test_a_task_without_supervision_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        Retrain()(
            problem(request(range(INSTANCES), (1,)), recipe=RECIPE),
            Budget(),
            seed=1,
            device=CPU,
            monitor=Silent(),
        )
    assert refused.value.code == "task_would_be_erased"
