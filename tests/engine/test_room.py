"""Batches in parts: the same gradients, and as many parts as memory asks for."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.engine.digits_problem import CPU, INSTANCES, SPECS, digits, original, problem, request
from worker.engine import measurement
from worker.engine.calibration import CalibrationSettings, calibrate
from worker.engine.contract import Budget, Recipe, Refused, Silent
from worker.engine.descent import Descent, descend
from worker.engine.forget_groups import plan_forgetting
from worker.engine.guards import PartPulls
from worker.engine.interference_aware import InterferenceAware
from worker.engine.measurement import hold, measure
from worker.engine.original_answers import OriginalAnswers
from worker.engine.progress import Progress
from worker.engine.room import Room, instances_at_once, room_to_train
from worker.engine.snapshots import SnapshotClock
from worker.engine.supervision import bind_tasks
from worker.engine.unlearning import Unlearning

SHORT = InterferenceAware(calibration=CalibrationSettings(reference_samples=16, probe_samples=32))


def short_of_memory(network: nn.Module, most: int) -> list[int]:
    """The network, copies included, fails as a device does for more than `most` instances; batches seen."""
    seen: list[int] = []

    def check(module: nn.Module, given: tuple[Tensor]) -> None:
        seen.append(len(given[0]))
        if len(given[0]) > most:
            raise torch.OutOfMemoryError("out of memory")

    network.register_forward_pre_hook(check)
    return seen


def as_double(data: Any) -> Any:
    batch = data.fetch(torch.arange(len(data)))
    targets = {k: v.double() if v.is_floating_point() else v for k, v in batch.targets.items()}
    return type(data)(list(data.ids), replace(batch, inputs=batch.inputs.double(), targets=targets))


def started(tasks: tuple[int, ...], guarded: bool) -> Unlearning:
    """A run that has taken some steps, as it were."""
    asked = problem(request(range(16), tasks), request(range(12, 20), (0,), "second"))
    plan = plan_forgetting(asked.forget, asked.train.present, SPECS)
    bound, network = bind_tasks(SPECS, asked.train, {"turn": 0.5}, CPU), original().requires_grad_(False)
    calibration = calibrate(
        network, asked, plan, bound, SHORT.calibration, seed=1, device=CPU,
        progress=Progress(Silent(), 1), clock=SnapshotClock(Silent(), "test"), saved={},
    )  # fmt: skip
    run = Unlearning(
        network, asked, plan, bound, calibration,
        steps=4, batch_size=8, retain_batch_size=16, seed=1, device=CPU,
    )  # fmt: skip
    run.region = replace(run.region, violations=int(guarded))
    # Where it starts it agrees with the original to the bit, and the retain loss has a kink there.
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in run.network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return run


@pytest.mark.parametrize("most", [16, 3, 1])
@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("tasks", [(0, 1, 2), (1,)])
def test_gradients_of_a_step_do_not_depend_on_how_many_instances_are_computed_at_once(
    tasks: tuple[int, ...], guarded: bool, most: int
) -> None:
    """Down to one at a time, which is the slow and obvious way; 3 and 1 split the forget instances, too."""
    found = []
    for at_once in (24, most):
        run = started(tasks, guarded)
        observed = run.leave_gradients(at_once)
        moved = [parameter.grad for parameter in run.network.parameters() if parameter.requires_grad]
        assert all(gradient is not None for gradient in moved)
        found.append(torch.cat([observed[None], *[g.flatten() for g in moved if g is not None]]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("most", [24, 5])
@pytest.mark.parametrize("tasks", [(0, 1, 2), (1,)])
def test_losses_that_go_backwards_one_by_one_add_up_to_the_step(
    monkeypatch: pytest.MonkeyPatch, tasks: tuple[int, ...], most: int
) -> None:
    """Guards that bend nothing get the gradients of the whole loss; a forget loss is its own head's."""

    def straight(
        parts: Iterable[PartPulls],
        subspaces: object,
        columns: Sequence[int],
        shared: list[nn.Parameter],
        others: list[nn.Parameter],
        room: object,
    ) -> list[Tensor]:
        moved = [*shared, *others]
        total = [torch.zeros_like(parameter) for parameter in moved]
        for part in parts:
            assert set(part.forget) <= set(columns)
            assert all(len(pull.outputs) == 1 for pull in part.forget.values())
            for pull in [*([part.retain] if part.retain else []), *part.forget.values()]:
                found: Any = torch.autograd.grad(
                    pull.outputs, moved, pull.gradients, retain_graph=True, allow_unused=True
                )
                for sum_, gradient in zip(total, found, strict=True):
                    sum_ += 0 if gradient is None else gradient
        return total

    monkeypatch.setattr("worker.engine.unlearning.guarded_gradients", straight)
    found = []
    for guarded, at_once in ((False, 24), (True, most)):
        run = started(tasks, guarded)
        observed = run.leave_gradients(at_once)
        moved = [parameter.grad for parameter in run.network.parameters() if parameter.grad is not None]
        found.append(torch.cat([observed[None], *[gradient.flatten() for gradient in moved]]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("first", [0, 3])
def test_the_original_says_the_same_looked_up_and_computed(first: int) -> None:
    asked = problem(request(range(16), (0, 1)))
    tasks, network = bind_tasks(SPECS, asked.train, {}, CPU), original()
    pool, rows = torch.arange(10, 90), torch.tensor([17, 80, 17, 10])
    batch = asked.train.fetch(torch.cat([torch.arange(first), rows]))
    held, computed = (
        OriginalAnswers(network, tasks, asked.train, pool, draws, CPU, "float32") for draws in (160, 159)
    )
    assert (held.passes, computed.passes) == (len(pool), 0)
    (said, lost), (expected, losses) = held.of(rows, batch, first), computed.of(rows, batch, first)
    torch.testing.assert_close(said, expected)
    torch.testing.assert_close(lost, losses)
    by_hand = [
        task.kind.losses(expected[task.name], asked.train.fetch(rows).targets[task.name]) for task in tasks
    ]
    torch.testing.assert_close(losses, torch.stack(by_hand, dim=1))


def test_a_run_short_of_memory_goes_on_with_smaller_parts() -> None:
    asked = problem(request(range(16), (0, 1)))
    seen = short_of_memory(asked.network, 5)
    outcome = SHORT(asked, Budget(visits=1), seed=1, device=CPU, monitor=Silent())
    assert outcome.steps == 4
    assert max(seen) > 5
    assert seen[-1] <= 5


def test_training_in_parts_is_training_on_the_batch() -> None:
    data = as_double(digits()[0])
    tasks = bind_tasks(SPECS, data, {"turn": 0.5}, CPU)
    found = []
    for most in (32, 5):
        network = original().double()
        descend(
            network, tasks, data, data.present, Descent(steps=4, batch_size=32, learning_rate=1e-3),
            seed=2, label="parts", device=CPU, progress=Progress(Silent(), 1), room=Room(most),
        )  # fmt: skip
        found.append(torch.cat([parameter.flatten() for parameter in network.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-10)


def test_room_halves_until_it_fits_and_stays_small() -> None:
    room, tried = Room(20), list[int]()

    def work(most: int) -> int:
        tried.append(most)
        if most > 3:
            raise torch.OutOfMemoryError
        return most

    assert room.run(work) == 2
    assert room.run(work) == 2
    assert tried == [20, 10, 5, 2, 2]


def test_not_even_one_instance_fits() -> None:
    def work(most: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(Refused) as refused:
        Room(4).run(work)
    assert refused.value.code == "device_memory_too_small"


def test_measuring_short_of_memory_gives_the_same_figures() -> None:
    data, network = digits()[0], original()
    tasks, rows = bind_tasks(SPECS, data, {}, CPU), torch.arange(50)

    def look(network: nn.Module) -> measurement.Measurement:
        return measure(
            network, tasks, data, rows,
            device=CPU, progress=Progress(Silent(), 1), note="", keep_outputs=True,
        )  # fmt: skip

    whole = look(network)
    short_of_memory(network, 7)
    parts = look(network)
    torch.testing.assert_close(whole.losses, parts.losses)
    torch.testing.assert_close(whole.outputs["digit"], parts.outputs["digit"])
    assert torch.equal(whole.present, parts.present)


def test_what_weighs_too_much_is_held_by_the_host_in_half_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outputs = torch.randn(4, 10)
    assert hold(outputs, 4) is outputs
    monkeypatch.setattr(measurement, "HELD_AS_THEY_ARE", 100)
    held = hold(outputs, 4)
    assert held.dtype == torch.float16
    torch.testing.assert_close(held.float(), outputs, rtol=1e-3, atol=1e-3)
    assert hold(outputs * 1e6, 4).dtype == torch.float32, "half precision cannot hold these"


def test_a_teacher_held_by_the_host_teaches_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = problem(request(range(16), (0, 1)))
    found = []
    for limit in (1 << 28, 100):
        monkeypatch.setattr(measurement, "HELD_AS_THEY_ARE", limit)
        outcome = SHORT(asked, Budget(visits=1), seed=1, device=CPU, monitor=Silent())
        found.append(torch.cat([parameter.detach().flatten() for parameter in outcome.network.parameters()]))
    moved = found[0] - torch.cat([parameter.detach().flatten() for parameter in asked.network.parameters()])
    assert 0 < float((found[0] - found[1]).norm()) < 0.05 * float(moved.norm())


def test_small_instances_are_computed_together_and_large_ones_as_in_training() -> None:
    data = digits()[0]
    assert len(data) == INSTANCES
    assert instances_at_once(data) == 256
    assert instances_at_once(data, numbers=300) == 4
    assert room_to_train(data, Recipe(batch_size=2), 24).instances == 24
