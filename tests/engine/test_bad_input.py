"""Input that cannot be right, or hardly: refused with a reason, or answered as docs/engine.md says."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.engine import baseline_bank
from tests.engine.digits_problem import (
    CPU,
    INSTANCES,
    QUICK,
    SPECS,
    Held,
    build,
    build_cnn,
    digits,
    original,
    problem,
    request,
    same_bits,
)
from worker.engine.baselines.fine_tune import FineTune, FineTuneSettings
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.retrain import Retrain
from worker.engine.calibration import CalibrationSettings
from worker.engine.checkpoint import read_checkpoint
from worker.engine.contract import Batch, Budget, ForgetSet, Method, Problem, Recipe, Refused, Silent
from worker.engine.data import Subset
from worker.engine.evaluation import evaluate
from worker.engine.interference_aware import InterferenceAware
from worker.engine.parameters import split_parameters
from worker.engine.randomness import derived_generator

BUDGET = Budget(visits=2)
SHORT = Recipe(learning_rate=4e-3, epochs=1, batch_size=32)


def run(asked: Problem, method: Method = QUICK) -> Any:
    return method(asked, BUDGET, seed=1, device=CPU, monitor=Silent())


def refusal(asked: Problem, method: Method = QUICK) -> Refused:
    with pytest.raises(Refused) as refused:
        run(asked, method)
    return refused.value


def spoilt(data: Any, row: int, value: float) -> Held:
    """With this amount of ink in one row."""
    batch: Batch = data.fetch(torch.arange(len(data)))
    ink = batch.targets["ink"].clone()
    ink[row] = value
    return Held(list(data.ids), replace(batch, targets={**batch.targets, "ink": ink}))


# --- losses that are no numbers


@pytest.mark.parametrize("spoil", ["the holdout", "the forget set", "the rest"])
def test_targets_without_a_finite_loss_are_refused_before_anything_is_learned_from_them(spoil: str) -> None:
    train, calibration, _ = digits()
    asked = problem(request(range(8), (0, 2)))
    if spoil == "the holdout":
        asked = replace(asked, calibration=spoilt(calibration, 3, float("inf")))
    else:
        row = 5 if spoil == "the forget set" else 100
        asked = replace(asked, train=spoilt(train, row, float("nan")))
    refused = refusal(asked)
    assert refused.code == "loss_not_finite"
    assert f"(the original on {spoil})" in str(refused)


class Souring(Silent):
    """From the first step of a kind on, what the data holds is no number any more."""

    def __init__(self, note: str, steps: int = 1) -> None:
        self.note = note
        self.steps = steps
        self.sour = False

    def progress(self, done: int, total: int, note: str) -> None:
        self.steps -= note == self.note
        self.sour |= self.steps <= 0

    def data(self, held: Any) -> Held:
        source = self

        class Sour(Held):
            def fetch(self, rows: Tensor) -> Batch:
                batch = super().fetch(rows)
                return replace(batch, inputs=batch.inputs * float("nan")) if source.sour else batch

        return Sour(list(held.ids), held.fetch(torch.arange(len(held))))


# Long enough to be looked at again after the first step.
LOOKED_AT = CalibrationSettings(reference_samples=17 * 8, probe_samples=17 * 16)


@pytest.mark.parametrize(
    ("method", "note"),
    [
        (InterferenceAware(calibration=LOOKED_AT), "reference"),
        (InterferenceAware(calibration=LOOKED_AT), "probe"),
        (QUICK, "unlearning"),
        (Retrain(), "training"),
        (FineTune(), "fine-tuning"),
    ],
)
def test_losses_that_cease_to_be_numbers_are_refused_where_it_happens(method: Method, note: str) -> None:
    souring = Souring(note)
    recipe = Recipe(learning_rate=4e-3, epochs=4, batch_size=32)
    asked = problem(request(range(8), (0, 2)), train=souring.data(digits()[0]), recipe=recipe)
    with pytest.raises(Refused) as refused:
        method(asked, Budget(visits=2), seed=1, device=CPU, monitor=souring)
    assert refused.value.code == "loss_not_finite"
    assert f"({note})" in str(refused.value)


def test_weights_that_the_last_steps_spoil_are_refused() -> None:
    """Between two looks at the loss: of six steps the last one."""
    souring = Souring("fine-tuning", steps=5)
    asked = problem(request(range(8), (0, 2)), train=souring.data(digits()[0]), recipe=SHORT)
    with pytest.raises(Refused) as refused:
        FineTune(settings=FineTuneSettings(Pace(1, 0.3)))(asked, BUDGET, seed=1, device=CPU, monitor=souring)
    assert refused.value.code == "loss_not_finite"
    assert "(weights)" in str(refused.value)


# --- sizes


@pytest.mark.parametrize("method", [QUICK, FineTune(), Retrain()], ids=lambda method: method.name)
def test_a_task_that_would_keep_nothing_is_named(method: Method) -> None:
    refused = refusal(problem(request(range(INSTANCES), (1,)), recipe=SHORT), method)
    assert refused.code == "task_would_be_erased"
    assert "'turn'" in str(refused)


@pytest.mark.parametrize("method", [QUICK, FineTune()], ids=lambda method: method.name)
def test_more_forgotten_than_kept_is_for_retraining(method: Method) -> None:
    asked = problem(request(range(INSTANCES // 2 + 1), (2,)), recipe=SHORT)
    refused = refusal(asked, method)
    assert refused.code == "forget_set_too_large"
    assert f"{INSTANCES // 2 + 1} of its {INSTANCES}" in str(refused)
    assert run(asked, Retrain()).guarantee == "exact"


def test_a_holdout_too_small_says_how_many_are_needed_and_for_named_tasks_only() -> None:
    _, calibration, _ = digits()
    assert isinstance(calibration, Held)
    bare = calibration.without(torch.arange(20, len(calibration)), 1)
    refused = refusal(problem(request(range(8), (0, 1)), calibration=bare))
    assert refused.code == "holdout_too_small"
    assert "'turn' has 20" in str(refused)
    assert "at least 25" in str(refused)
    assert run(problem(request(range(8), (0,)), calibration=bare)).steps > 0


def test_a_holdout_of_one_class_gives_finite_figures() -> None:
    train, calibration, audit = digits()
    one = [
        Subset(data, (data.fetch(torch.arange(len(data))).targets["digit"] == 3).nonzero().flatten())
        for data in (calibration, audit)
    ]
    assert all(len(data) >= 25 for data in one)
    asked = problem(request(range(60), (0, 1, 2)), calibration=one[0])
    outcome = run(asked)
    assert all(0 <= residual.goal <= 100 for residual in outcome.residuals)
    report = evaluate(
        asked.network, outcome.network, tasks=SPECS, train=train, audit=one[1], forget=asked.forget,
        seed=0, device=CPU, monitor=Silent(),
    )  # fmt: skip
    json.dumps(report, allow_nan=False)


# --- single instances


def test_one_retained_instance_cannot_train_a_network_with_batch_normalisation() -> None:
    def normalised(generator: torch.Generator) -> nn.Module:
        network = build_cnn(generator)
        network.shared.append(nn.BatchNorm1d(32))  # type: ignore[operator, union-attr]
        return network

    def of(instances: int) -> Problem:
        one = ForgetSet(instances, 3, (request([0], (0, 1, 2)),))
        return problem(
            network=normalised(derived_generator(3, "cnn")).eval(), build=normalised, recipe=SHORT,
            train=Subset(digits()[0], torch.arange(instances)), forget=one,
        )  # fmt: skip

    for method in (QUICK, Retrain()):
        assert refusal(of(2), method).code == "batch_too_small"
    assert run(of(3)).steps == 7, "two retained ones are enough, and a single one may be forgotten"


# --- parameters that do not move, or move for several


def frozen_backbone(generator: torch.Generator) -> nn.Module:
    network = build(generator)
    network.get_submodule("shared").requires_grad_(False)
    return network


def with_frozen_backbone() -> nn.Module:
    network = original()
    network.get_submodule("shared").requires_grad_(False)
    return network


@pytest.mark.parametrize("method", [QUICK, Retrain()], ids=lambda method: method.name)
def test_a_frozen_backbone_stays_what_it_is(method: Method) -> None:
    given = with_frozen_backbone()
    asked = problem(request(range(8), (0, 1)), network=given, build=frozen_backbone, recipe=SHORT)
    outcome = run(asked, method)
    assert same_bits(outcome.network.shared, given.shared)  # type: ignore[arg-type]
    assert not same_bits(outcome.network.heads["digit"], given.heads["digit"])  # type: ignore[index]
    flags = [parameter.requires_grad for parameter in given.parameters()]
    assert [parameter.requires_grad for parameter in outcome.network.parameters()] == flags


def test_a_network_that_the_last_steps_broke_is_refused() -> None:
    """Losses are looked at every 16 steps, and this run has fewer."""
    broken = replace(SHORT, learning_rate=1e30)
    assert refusal(problem(request(range(8), (0,)), recipe=broken), Retrain()).code == "loss_not_finite"


@pytest.mark.parametrize("method", [QUICK, Retrain()], ids=lambda method: method.name)
def test_frozen_normalisation_keeps_its_statistics_and_normalises_by_them(method: Method) -> None:
    def frozen(generator: torch.Generator) -> nn.Module:
        network = build(generator)
        network.shared.append(nn.BatchNorm1d(128))  # type: ignore[operator, union-attr]
        network.shared.requires_grad_(False)  # type: ignore[union-attr]
        return network

    given = frozen(derived_generator(3, "frozen"))
    normal: Any = given.shared[-1]  # type: ignore[index]
    normal.running_mean.fill_(0.25)
    normal.running_var.fill_(2.0)
    asked = problem(request(range(8), (0, 1)), network=given.eval(), build=frozen, recipe=SHORT)
    outcome = run(asked, method)
    assert same_bits(given.shared, outcome.network.shared)  # type: ignore[arg-type]
    assert not same_bits(given.heads["digit"], outcome.network.heads["digit"])  # type: ignore[index]


def test_methods_that_would_move_what_is_frozen_refuse() -> None:
    asked = problem(request(range(8), (0, 1)), network=with_frozen_backbone(), build=frozen_backbone)
    assert refusal(asked, FineTune()).code == "network_frozen"


def test_a_network_that_is_frozen_altogether_cannot_forget() -> None:
    given = original().requires_grad_(False)
    with pytest.raises(Refused) as refused:
        split_parameters(original(), given, ["digit"])
    assert refused.value.code == "network_frozen"


def tied(generator: torch.Generator) -> nn.Module:
    """Two heads that answer with one and the same layer (as far as both have as many classes)."""
    network = baseline_bank.build(generator)
    heads: Any = network.heads
    heads["shape"].weight = heads["colour"].weight
    return network


def tied_problem(columns: tuple[int, ...]) -> Problem:
    asked = baseline_bank.problem((range(baseline_bank.FORGET), columns))
    return replace(asked, network=tied(torch.Generator().manual_seed(1)).eval(), build=tied)


@pytest.mark.parametrize("columns", [(0,), (0, 2), (0, 1, 2)])
def test_what_heads_have_in_common_is_shared_and_stays_in_common(columns: tuple[int, ...]) -> None:
    asked = tied_problem(columns)
    named = [asked.tasks[column].name for column in columns]
    heads: Any = asked.network.heads
    shared, own = split_parameters(tied(torch.Generator().manual_seed(1)), asked.network, named)
    assert len({*shared, *own}) == len(shared) + len(own)
    assert sum(p.shape == heads["colour"].weight.shape for p in shared) == 1
    outcome = run(asked)
    after: Any = outcome.network.heads
    assert after["colour"].weight is after["shape"].weight
    assert not torch.equal(after["colour"].weight, heads["colour"].weight)
    if 2 not in columns:
        assert torch.equal(after["shape"].bias, heads["shape"].bias), "its own bias does not move"


def test_a_tied_head_of_a_task_that_nobody_named_alone_stays() -> None:
    outcome, before = run(tied_problem((1,))), tied_problem((1,)).network
    assert same_bits(outcome.network.heads["shape"], before.heads["shape"])  # type: ignore[index]


def test_tied_tensors_must_agree_in_the_checkpoint(tmp_path: Path) -> None:
    network = tied(torch.Generator().manual_seed(1))
    tensors = {name: value.clone() for name, value in network.state_dict().items()}
    save_file(tensors, tmp_path / "agree")
    read_checkpoint(tmp_path / "agree", network)
    tensors["heads.shape.weight"] += 1
    save_file(tensors, tmp_path / "differ")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(Refused) as refused:
        read_checkpoint(tmp_path / "differ", network)
    assert refused.value.code == "checkpoint_tied_tensors_differ"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Fixed(nn.Module):
    """A backbone with buffers and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        weights = torch.randn(64, 128, generator=torch.Generator().manual_seed(0)) / 8
        self.register_buffer("weights", weights)

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs.flatten(1) @ self.weights).relu()


def on_buffers(generator: torch.Generator) -> nn.Module:
    network = build(generator)
    network.shared = Fixed()
    return network


@pytest.mark.parametrize("guarded", [False, True])
def test_a_backbone_of_buffers_leaves_the_heads_to_forget(
    guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engine.trust_region.TrustRegion.guarded", property(lambda region: guarded))
    given = on_buffers(torch.Generator().manual_seed(2)).eval()
    outcome = run(problem(request(range(8), (0, 2)), network=given, build=on_buffers))
    assert same_bits(outcome.network.shared, given.shared)  # type: ignore[arg-type]
    assert same_bits(outcome.network.heads["turn"], given.heads["turn"])  # type: ignore[index]
    assert not same_bits(outcome.network.heads["digit"], given.heads["digit"])  # type: ignore[index]


def test_buffers_are_nobody_s_to_move() -> None:
    network = original()
    network.register_buffer("note", torch.arange(3))

    def with_note(generator: torch.Generator) -> nn.Module:
        built = build(generator)
        built.register_buffer("note", torch.zeros(3, dtype=torch.int64))
        return built

    outcome = run(problem(request(range(8), (0,)), network=network, build=with_note))
    assert torch.equal(outcome.network.note, torch.arange(3))
