"""What defines each baseline, held against known values and slow, obvious references."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from tests.engine.baseline_bank import (
    CPU,
    FORGET,
    OTHERS,
    ROWS,
    TRAIN,
    Watching,
    a_run,
    decaying,
    gradients,
    in_double,
    mean_loss,
    problem,
)
from worker.engine.baselines.bad_teacher import BadTeacher, BadTeacherSettings
from worker.engine.baselines.fine_tune import FineTune, FineTuneSettings
from worker.engine.baselines.gradients import backward, flat
from worker.engine.baselines.l1_sparse import L1Sparse, L1SparseSettings
from worker.engine.baselines.negative_gradient_plus import combined_loss
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.random_targets import RandomTargets
from worker.engine.baselines.run import Run
from worker.engine.baselines.salun import SalUn, SalUnSettings, forget_gradient, saliency_masks
from worker.engine.baselines.scrub import MAXIMISING, MINIMISING, Scrub, ScrubSettings
from worker.engine.baselines.sfron import Sfron, SfronSettings, adaptive_weights, remain_balanced_masks
from worker.engine.baselines.ssd import Ssd, SsdSettings, importances
from worker.engine.contract import Budget, ForgetRequest, Interrupted, Recipe, Silent
from worker.engine.descent import SGD_TO_ADAM
from worker.engine.randomness import derived_generator
from worker.engine.supervision import instance_divergences

# --- NegGrad+


def test_negative_gradient_plus_is_the_stated_combination() -> None:
    run = a_run(in_double(problem((range(FORGET), (0,)))))
    retain = torch.cat([OTHERS[:10], ROWS[:2]])  # two forget instances, whose other tasks are retained
    backward(combined_loss(run, retain, ROWS[:5], beta=0.8))
    found = flat(gradients(run.network))

    def reference(rows: Tensor, columns: Sequence[str]) -> Tensor:
        batch = run.problem.train.fetch(rows)
        run.network.zero_grad()
        backward(mean_loss(run.network(batch.inputs), batch.targets, columns))
        return flat(gradients(run.network))

    kept = reference(retain[:10], ["colour"]) + reference(retain, ["size", "shape"])
    expected = 0.8 * kept - 0.2 * reference(ROWS[:5], ["colour"])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


# --- random labels


def test_only_named_targets_become_random_and_donors_are_retained() -> None:
    earlier = ForgetRequest("earlier", torch.arange(40, TRAIN), (0, 1, 2))
    run = a_run(problem((range(FORGET), (0,)), (range(6, 18), (1,)), excluded=[earlier]))
    sample = run.sample(torch.arange(30))
    before = {name: values.clone() for name, values in sample.batch.targets.items()}
    # A value that no other instance has tells where it came from.
    replaced = RandomTargets(run).replace(sample, 0).batch.targets
    assert all(torch.equal(sample.batch.targets[name], before[name]) for name in before)
    assert torch.equal(replaced["shape"], before["shape"])
    assert torch.equal(replaced["colour"][FORGET:], before["colour"][FORGET:])
    assert torch.equal(replaced["size"][:6], before["size"][:6])
    assert torch.equal(replaced["size"][18:], before["size"][18:])
    assert not torch.equal(replaced["colour"][:FORGET], before["colour"][:FORGET])
    allowed = torch.cat([before["size"][:6], run.problem.train.fetch(torch.arange(18, 40)).targets["size"]])
    assert bool(torch.isin(replaced["size"][6:18], allowed).all())


def test_random_targets_change_with_the_epoch_and_not_with_the_batch() -> None:
    run = a_run(problem((range(FORGET), (1,))))
    targets = RandomTargets(run)
    whole = targets.replace(run.sample(ROWS), 0).batch.targets["size"]
    part = targets.replace(run.sample(ROWS[3:5]), 0).batch.targets["size"]
    other = targets.replace(run.sample(ROWS), 1).batch.targets["size"]
    assert torch.equal(whole[3:5], part)
    assert not torch.equal(whole, other)


# --- fine-tuning, and sparsely


def test_l1_sparse_steps_by_a_penalty_that_fades_linearly() -> None:
    """Plain steps beside a slow reference; without a penalty they are those of fine-tuning."""
    job, gamma, pace = in_double(problem((range(FORGET), (0,)))), 0.3, Pace(1, 0.01, plain=True)
    sparse, tuned = (
        method(job, Budget(), seed=5, device=CPU, monitor=Silent())
        for method in (
            L1Sparse(settings=L1SparseSettings(gamma, pace)),
            FineTune(settings=FineTuneSettings(pace)),
        )
    )
    run = a_run(job)
    retain, rate = run.stream(run.retain_rows, 16, "retain"), 0.01 * job.recipe.learning_rate / SGD_TO_ADAM
    for outcome, penalty in ((sparse, gamma), (tuned, 0.0)):
        run.network.load_state_dict(job.network.state_dict())
        assert outcome.steps == TRAIN // 16
        for step in range(outcome.steps):
            sample = run.sample(retain.batch(step))
            run.network.zero_grad()
            backward(run.mean(run.losses(sample), sample.retained))
            fading = penalty * (outcome.steps - step) / outcome.steps
            with torch.no_grad():
                for parameter, gradient in zip(run.network.parameters(), gradients(run.network), strict=True):
                    parameter -= rate * (gradient + fading * parameter.sign())
        for found, expected in zip(outcome.network.parameters(), run.network.parameters(), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_l1_sparse_ends_smaller_than_fine_tuning() -> None:
    job, pace = problem((range(FORGET), (0,))), Pace(5, 1.0)
    sizes = []
    for method in (
        L1Sparse(settings=L1SparseSettings(1e-2, pace)),
        FineTune(settings=FineTuneSettings(pace)),
    ):
        network = method(job, Budget(), seed=5, device=CPU, monitor=Silent()).network
        sizes.append(sum(float(parameter.detach().abs().sum()) for parameter in network.parameters()))
    before = sum(float(parameter.detach().abs().sum()) for parameter in job.network.parameters())
    assert sizes[0] < 0.9 * min(sizes[1], before)


# --- SalUn


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_salun_leaves_other_weights_bit_identical(optimizer: str) -> None:
    job = problem((range(FORGET), (0,)))
    recipe = Recipe(optimizer=optimizer, learning_rate=0.01, batch_size=16, weight_decay=0.1)  # type: ignore[arg-type]
    job = replace(job, recipe=recipe)
    settings = SalUnSettings(0.3, Pace(3, 1.0))
    masks = saliency_masks(forget_gradient(a_run(job)), settings.salient)
    outcome = SalUn(settings=settings)(job, Budget(), seed=5, device=CPU, monitor=Silent())
    moved = 0
    pairs = zip(outcome.network.parameters(), job.network.parameters(), strict=True)
    for (after, before), mask in zip(pairs, masks, strict=True):
        assert torch.equal(after[~mask], before[~mask])
        moved += int((after != before).sum())
    assert moved > 0.5 * sum(int(mask.sum()) for mask in masks)


def test_saliency_masks_are_the_largest_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(7, 3, generator=generator), torch.zeros(5), torch.randn(4, generator=generator)]
    masks = saliency_masks(tensors, 0.5)
    everything = torch.cat([tensor.flatten() for tensor in tensors]).abs()
    kept = torch.cat([mask.flatten() for mask in masks])
    assert int(kept.sum()) == 15
    assert everything[kept].min() > everything[~kept].max()
    assert not any(mask.any() for mask in saliency_masks([torch.zeros(6)], 0.5))


def test_forget_gradient_is_that_of_the_mean_loss() -> None:
    run = a_run(in_double(problem((range(FORGET), (0, 1)))))
    found = flat(forget_gradient(run))
    batch = run.problem.train.fetch(ROWS)
    backward(mean_loss(run.network(batch.inputs), batch.targets, ["colour", "size"]))
    torch.testing.assert_close(found, flat(gradients(run.network)), rtol=1e-10, atol=1e-12)


# --- SSD


def test_ssd_only_shrinks_and_only_what_it_selected() -> None:
    job, settings = problem((range(FORGET), (0, 1))), SsdSettings(alpha=1.0, lambda_=0.5)
    run = a_run(job)
    everything = run.retained | run.forgotten
    learned = importances(run, torch.arange(TRAIN), everything)
    forgotten = importances(run, ROWS, run.forgotten)
    outcome = Ssd(settings=settings)(job, Budget(), seed=5, device=CPU, monitor=Silent())
    changed = 0
    for after, before, whole, part in zip(
        outcome.network.parameters(), job.network.parameters(), learned, forgotten, strict=True
    ):
        selected = part > whole
        assert torch.equal(after[~selected], before[~selected])
        assert bool((after.abs() <= before.abs()).all())
        assert bool((after * before >= 0).all())
        expected = before * (0.5 * whole / part).clamp(max=1)
        torch.testing.assert_close(after[selected], expected[selected])
        changed += int((after != before).sum())
    assert 0 < changed == outcome.details["dampened_weights"] < outcome.details["weights"]


def test_ssd_importances_are_mean_squares_of_single_gradients() -> None:
    run = a_run(in_double(problem((range(FORGET), (0,)))))
    found = importances(run, ROWS, run.forgotten)
    batch = run.problem.train.fetch(ROWS)
    weights = {name: value.detach() for name, value in run.network.named_parameters()}

    def loss(weights: dict[str, Tensor], one: Tensor, target: Tensor) -> Tensor:
        said = functional_call(run.network, weights, (one[None],))["colour"]
        return functional.cross_entropy(said, target[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))(weights, batch.inputs, batch.targets["colour"])
    for value, reference in zip(found, each.values(), strict=True):
        torch.testing.assert_close(value, reference.square().mean(dim=0), rtol=1e-9, atol=1e-14)


# --- SFR-on


def test_sfron_ascends_on_weights_that_the_forget_set_depends_on_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A single step of plain ascent, before anything is mended."""
    job = decaying(problem((range(FORGET), (0, 1))))
    pace = Pace(1, 0.01, plain=True)
    run = a_run(job)
    masks = remain_balanced_masks(run, 1.0, 16)
    forgotten = importances(run, ROWS, run.forgotten, 16)
    retained = importances(run, run.retain_rows, run.retained, 16)
    for mask, part, rest in zip(masks, forgotten, retained, strict=True):
        assert torch.equal(mask, part + 1e-15 >= rest + 1e-15)
    assert 0 < sum(int(mask.sum()) for mask in masks) < sum(mask.numel() for mask in masks)

    class First(Silent):
        """Interrupts after the first update and keeps the network as it is then."""

        def progress(self, done: int, total: int, note: str) -> None:
            if note == "ascending and mending":
                raise Interrupted

    moved: list[nn.Module] = []
    original = Run.walk

    def watching(self: Run, *given: object) -> object:
        moved.append(self.network)
        return original(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "walk", watching)
    with pytest.raises(Interrupted):
        Sfron(settings=SfronSettings(pace=pace))(job, Budget(), seed=5, device=CPU, monitor=First())
    changed = 0
    for after, before, mask in zip(moved[0].parameters(), job.network.parameters(), masks, strict=True):
        assert torch.equal(after[~mask], before[~mask])
        changed += int((after != before).sum())
    assert changed > 0


def test_adaptive_weights_add_up_and_fall_with_the_loss() -> None:
    losses = torch.tensor([[0.01, 4.0], [1.0, 4.0], [9.0, 0.0]])
    mask = torch.tensor([[True, False], [True, False], [True, False]])
    weights = adaptive_weights(losses, mask, 0.5)
    torch.testing.assert_close(weights.sum(dim=0), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(weights[:, 0] / weights[2, 0], torch.tensor([30.0, 3.0, 1.0]))
    assert adaptive_weights(torch.zeros(3, 2), mask, 0.5).isfinite().all()


# --- Bad-Teacher


def test_bad_teacher_makes_the_forget_set_follow_the_incompetent_one() -> None:
    job = problem((range(FORGET), (0, 1)))
    method = BadTeacher(settings=BadTeacherSettings(1.0, Pace(20, 1.0)))
    outcome = method(job, Budget(), seed=5, device=CPU, monitor=Silent())
    incompetent = job.build(derived_generator(5, "incompetent teacher")).eval()
    run, inputs = a_run(job), job.train.fetch(ROWS).inputs
    with torch.no_grad():
        bad, good = incompetent(inputs), job.network(inputs)
        before = instance_divergences(run.tasks, good, bad).mean(dim=0)
        after = instance_divergences(run.tasks, outcome.network(inputs), bad).mean(dim=0)
        loyal = instance_divergences(run.tasks, outcome.network(inputs), good).mean(dim=0)
    assert bool((after[:2] < before[:2] / 2).all())
    assert float(loyal[2]) < 0.1 * float(before[2])


# --- SCRUB


def test_scrub_alternates_and_ends_with_min_steps() -> None:
    monitor = Watching()
    Scrub(settings=ScrubSettings(max_epochs=2, pace=Pace(4, 0.3)))(
        problem((range(FORGET), (0,))), Budget(), seed=5, device=CPU, monitor=monitor
    )
    turns = [note for note, last in zip(monitor.notes, ["", *monitor.notes], strict=False) if note != last]
    assert turns == [MAXIMISING, MINIMISING, MAXIMISING, MINIMISING]
    assert monitor.notes.count(MINIMISING) == 4 * (TRAIN // 16)
