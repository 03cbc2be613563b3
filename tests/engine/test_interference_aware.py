"""What must hold of every unlearning run, whatever it is asked."""

import dataclasses
from typing import Any, Literal

import pytest
import torch

from tests.engine.digits_problem import (
    CPU,
    INSTANCES,
    QUICK,
    SPECS,
    Held,
    build_cnn,
    digits,
    original,
    problem,
    request,
    same_bits,
)
from tests.engine.runs import BUDGET, run
from worker.engine.contract import Budget, Recipe, Refused, Silent
from worker.engine.randomness import derived_generator
from worker.engine.trust_region import Guards
from worker.engine.unlearning import FEWEST_ROUNDS


def test_same_seed_same_bits_whatever_the_order_of_instances_and_another_seed_differs() -> None:
    rows = list(range(5, 30))
    first = run(request(rows, (0, 2)))
    again = run(request(rows[::-1], (0, 2)))
    other = run(request(rows, (0, 2)), seed=2)
    assert same_bits(first.network, again.network)
    assert not same_bits(first.network, other.network)


def test_on_the_cpu_bfloat16_gives_the_bits_of_float32() -> None:
    """As `worker.engine.forward` promises: the precision is an accelerator's."""
    wanted = request(range(5, 30), (0, 2))
    expected = run(wanted)
    found = run(wanted, method=dataclasses.replace(QUICK, precision="bfloat16"))
    assert same_bits(found.network, expected.network)
    assert found.details == expected.details


@pytest.mark.parametrize("guards", ["never", "always"])
def test_the_order_of_tasks_does_not_matter(guards: Guards) -> None:
    """Up to rounding."""
    method, rows = dataclasses.replace(QUICK, guards=guards), range(5, 30)
    columns = [2, 0, 1]
    data, calibration, _ = digits()
    found = run(request(rows, (0, 1)), request(range(2), (2,), "second"), method=method)
    other = run(
        request(rows, (1, 2)), request(range(2), (0,), "second"),
        method=method, tasks=tuple(SPECS[column] for column in columns),
        train=data.reordered(columns), calibration=calibration.reordered(columns),  # type: ignore[attr-defined]
    )  # fmt: skip
    ends = [torch.cat([p.detach().flatten() for p in o.network.parameters()]) for o in (found, other)]
    start = torch.cat([p.detach().flatten() for p in original().parameters()])
    assert (ends[0] - ends[1]).norm() < 1e-4 * (ends[0] - start).norm()


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(request([1, 2], (0,)))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_given_network_is_not_changed() -> None:
    given = original()
    run(request([1, 2, 3], (0, 1, 2)), network=given)
    assert same_bits(given, original())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in given.parameters())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"requests": ()}, id="no request"),
        pytest.param({"requests": (request([], (0,)),)}, id="no instance"),
        pytest.param(
            {"requests": (request([3], (1,)),), "excluded": (request([3], (1,), "before"),)},
            id="forgotten before",
        ),
    ],
)
def test_nothing_to_forget_gives_the_same_bits(changes: dict[str, Any]) -> None:
    outcome = run(*changes.pop("requests"), **changes)
    assert same_bits(outcome.network, original())
    assert outcome.steps == 0
    assert outcome.residuals == ()


def test_instances_without_supervision_have_nothing_to_forget() -> None:
    data, _, _ = digits()
    assert isinstance(data, Held)
    bare = data.without(torch.arange(0, 20), 1)
    outcome = run(request(range(20), (1,)), train=bare)
    assert same_bits(outcome.network, original())
    mixed = run(request(range(10, 30), (1,)), train=bare)
    assert [residual.instances for residual in mixed.residuals] == [10]


@pytest.mark.parametrize("named", [(0,), (1,), (2,), (0, 2)])
def test_heads_of_unnamed_tasks_keep_their_bits_and_the_rest_moves(named: tuple[int, ...]) -> None:
    outcome = run(request(range(12), named))
    for column, spec in enumerate(SPECS):
        same = same_bits(outcome.network.heads[spec.name], original().heads[spec.name])  # type: ignore[index, union-attr]
        assert same == (column not in named)
    assert not same_bits(outcome.network.shared, original().shared)  # type: ignore[arg-type]


@pytest.mark.parametrize(("aim", "alike"), [("retraining", False), ("holdout", True)])
def test_aimed_at_the_holdout_every_request_has_the_same_goal(
    aim: Literal["retraining", "holdout"], alike: bool
) -> None:
    settings = dataclasses.replace(QUICK.calibration, aim=aim)
    method = dataclasses.replace(QUICK, calibration=settings)
    outcome = run(request(range(50), (0,)), request(range(50, 100), (0,), "second"), method=method)
    goals = {entry["goal"] for entry in outcome.details["goals"]}
    assert (len(goals) == 1) == alike


def test_one_instance() -> None:
    outcome = run(request([17], (0, 1, 2)))
    assert {residual.task for residual in outcome.residuals} == {"digit", "turn", "ink"}
    assert outcome.visits == BUDGET.visits * FEWEST_ROUNDS
    assert all(bool(parameter.isfinite().all()) for parameter in outcome.network.parameters())


def test_several_requests_with_different_tasks_and_a_common_instance() -> None:
    outcome = run(
        request(range(60), (0,), "large"),
        request(range(55, 65), (0, 2), "small"),
        request([70], (1,), "single"),
    )
    found = {(residual.reference, residual.task): residual.instances for residual in outcome.residuals}
    assert found == {
        ("large", "digit"): 60,
        ("small", "digit"): 5,
        ("small", "ink"): 10,
        ("single", "turn"): 1,
    }
    assert {(goal["task"], goal["instances"]) for goal in outcome.details["goals"]} == {
        ("digit", 60),
        ("digit", 5),
        ("ink", 10),
        ("turn", 1),
    }


def test_guards_engage_under_stress_and_the_run_survives() -> None:
    stressed = Recipe(learning_rate=0.2, epochs=1)
    outcome = QUICK(
        problem(request(range(60), (0, 1)), recipe=stressed),
        Budget(visits=8),
        seed=1,
        device=CPU,
        monitor=Silent(),
    )
    assert outcome.details["trust_region"]["violations"] > 0
    assert all(bool(parameter.isfinite().all()) for parameter in outcome.network.parameters())


def test_batch_normalisation_keeps_its_statistics() -> None:
    network = build_cnn(derived_generator(3, "cnn")).eval()
    outcome = run(request(range(10), (0, 1, 2)), network=network, build=build_cnn)
    for (name, before), (_, after) in zip(
        network.named_buffers(), outcome.network.named_buffers(), strict=True
    ):
        assert torch.equal(before, after), name
    assert not same_bits(network.shared, outcome.network.shared)  # type: ignore[arg-type]


def test_recipes_of_plain_descent_do_not_blow_up() -> None:
    outcome = run(request(range(10), (0,)), recipe=Recipe(optimizer="sgd", learning_rate=0.1))
    assert outcome.details["trust_region"]["inside"]


@pytest.mark.parametrize(
    ("rows", "tasks", "code"),
    [
        (range(INSTANCES), (0,), "task_would_be_erased"),
        (range(INSTANCES // 2 + 1), (0, 1, 2), "forget_set_too_large"),
    ],
)
def test_refusals(rows: range, tasks: tuple[int, ...], code: str) -> None:
    with pytest.raises(Refused) as refused:
        run(request(rows, tasks))
    assert refused.value.code == code


def test_a_loss_that_is_not_a_number_is_refused() -> None:
    network = original()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(Refused) as refused:
        run(request([1], (0,)), network=network)
    assert refused.value.code == "loss_not_finite"
