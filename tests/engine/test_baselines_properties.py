"""What defines each baseline, held against known values and slow, obvious references."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from tests.engine.baseline_bank import CPU, FORGET, TASKS, TRAIN, Rows, Watching, problem
from worker.engine.baselines.bad_teacher import BadTeacher, BadTeacherSettings
from worker.engine.baselines.core_space import core_basis, linear_layers, outside_core, recorded_moments
from worker.engine.baselines.fine_tune import FineTune, FineTuneSettings
from worker.engine.baselines.gdr_gma import (
    Bank,
    GdrGma,
    GdrGmaSettings,
    forget_weight,
    original_loss,
    rectified,
)
from worker.engine.baselines.gradients import backward, flat
from worker.engine.baselines.l1_sparse import L1Sparse, L1SparseSettings
from worker.engine.baselines.munba import bargain
from worker.engine.baselines.negative_gradient_plus import combined_loss
from worker.engine.baselines.orthograd import (
    Orthograd,
    OrthogradSettings,
    orthogonal_part,
    sample_gradients,
)
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.pgu import Pgu, PguSettings, core_bases
from worker.engine.baselines.random_targets import RandomTargets
from worker.engine.baselines.run import Run
from worker.engine.baselines.salun import SalUn, SalUnSettings, forget_gradient, saliency_masks
from worker.engine.baselines.scrub import MAXIMISING, MINIMISING, Scrub, ScrubSettings
from worker.engine.baselines.sfron import Sfron, SfronSettings, adaptive_weights, remain_balanced_masks
from worker.engine.baselines.ssd import Ssd, SsdSettings, importances
from worker.engine.contract import Budget, ForgetRequest, Interrupted, Problem, Recipe, Silent
from worker.engine.descent import SGD_TO_ADAM
from worker.engine.projected_ascent import (
    ProjectedAscentSettings,
    bent_gradients,
    forget_direction,
    task_bases,
)
from worker.engine.randomness import derived_generator
from worker.engine.supervision import instance_divergences
from worker.engine.tasks import kind_of

ROWS, OTHERS = torch.arange(FORGET), torch.arange(FORGET, TRAIN)


def a_run(job: Problem) -> Run:
    return Run(job, Budget(), seed=5, device=CPU, monitor=Silent())


def in_double(job: Problem) -> Problem:
    """The same job in double precision."""
    doubled = {}
    for name in ("train", "calibration"):
        rows: Rows = getattr(job, name)
        targets = {k: v.double() if v.is_floating_point() else v for k, v in rows.targets.items()}
        doubled[name] = Rows(rows.inputs.double(), targets, rows.present)
    return replace(job, network=job.network.double(), **doubled)


def decaying(job: Problem) -> Problem:
    """The same job by a recipe that shrinks all weights, which no method may take over."""
    return replace(job, recipe=replace(job.recipe, weight_decay=0.5))


def gradients(network: nn.Module) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in network.parameters()]


def mean_loss(said: Mapping[str, Tensor], targets: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    kinds = {task.name: kind_of(task) for task in TASKS}
    return torch.stack([kinds[name].losses(said[name], targets[name]).mean() for name in names]).sum()


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


# --- OrthoGrad


def test_orthogonal_part_is_orthogonal_to_every_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    others = torch.randn(9, 40, generator=generator, dtype=torch.float64)
    others[3] = others[2]  # dependent
    others[4] = 0
    others[5] *= 1e-9  # next to nothing, and still an instance
    others[6] *= 1e6
    gradient = torch.randn(40, generator=generator, dtype=torch.float64)
    left = orthogonal_part(gradient, others)
    cosine = (others @ left).abs() / others.norm(dim=1).clamp(min=1e-300) / left.norm()
    assert float(cosine.max()) < 1e-12
    assert float(left.norm()) > 0
    torch.testing.assert_close(orthogonal_part(left, others), left)
    torch.testing.assert_close(orthogonal_part(gradient, others[4:5]), gradient)


def test_orthograd_step_is_orthogonal_to_the_gradients_of_its_retain_batch() -> None:
    job = decaying(in_double(problem((range(FORGET), (0, 1, 2)))))
    pace = Pace(1, 0.1, plain=True)
    method = Orthograd(settings=OrthogradSettings(alpha=0.0, retain_batch=8, pace=pace))
    outcome = method(job, Budget(), seed=5, device=CPU, monitor=Silent())
    assert outcome.steps == 1
    run = a_run(job)
    each = sample_gradients(run, run.stream(run.retain_rows, 8, "retain").batch(0))
    pairs = zip(outcome.network.parameters(), job.network.parameters(), strict=True)
    step = flat([(after - before).detach() for after, before in pairs])
    cosine = (each @ step).abs() / each.norm(dim=1) / step.norm()
    assert float(step.norm()) > 0
    assert float(cosine.max()) < 1e-10


def test_sample_gradients_are_those_of_each_row_s_own_retained_loss() -> None:
    """All at once by another way; of forget instances the un-named tasks alone."""
    run = a_run(in_double(problem((range(FORGET), (0,)))))
    rows = torch.cat([OTHERS[:6], ROWS[:2]])
    batch = run.problem.train.fetch(rows)
    weights = {name: value.detach() for name, value in run.network.named_parameters()}

    def loss(weights: dict[str, Tensor], one: Tensor, targets: dict[str, Tensor], kept: Tensor) -> Tensor:
        said = functional_call(run.network, weights, (one[None],))
        found = [
            kind_of(task).losses(said[task.name], targets[task.name][None])[0] * kept[column]
            for column, task in enumerate(TASKS)
        ]
        return torch.stack(found).sum()

    found = vmap(grad(loss), in_dims=(None, 0, 0, 0))(
        weights, batch.inputs, batch.targets, run.retained[rows].double()
    )
    expected = torch.cat([value.flatten(1) for value in found.values()], dim=1)
    each = sample_gradients(run, rows)
    torch.testing.assert_close(each, expected, rtol=1e-9, atol=1e-12)
    assert float((each - each.mean(dim=0)).norm()) > 0.1 * float(each.norm())


# --- PGU


def test_pgu_update_is_orthogonal_to_the_core_space() -> None:
    job = decaying(in_double(problem((range(FORGET), (0, 1)))))
    settings = PguSettings(0.7, stop_at_holdout=False, pace=Pace(5, 0.1, plain=True))
    outcome = Pgu(settings=settings)(job, Budget(), seed=5, device=CPU, monitor=Silent())
    bases = core_bases(a_run(job), settings.retained_share)
    assert set(bases) == {"shared.1", "shared.3", "heads.colour", "heads.size", "heads.shape"}
    before = dict(job.network.named_parameters())
    moved = 0.0
    for name, after in outcome.network.named_parameters():
        step = (after - before[name]).detach()
        moved += float(step.norm())
        if name.endswith("bias"):
            assert torch.equal(after, before[name])
        else:
            inside = step @ bases[name.removesuffix(".weight")]
            assert float(inside.norm()) <= 1e-12 * max(1.0, float(step.norm()))
    assert moved > 0


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_gradients_of_what_is_retained_lie_in_the_full_core_space(kind: str) -> None:
    torch.manual_seed(0)
    layer: nn.Module = (
        nn.Linear(30, 4) if kind == "linear" else nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=1)
    )
    network = nn.Sequential(layer).double()
    inputs = torch.randn((5, 30) if kind == "linear" else (1, 3, 5, 5), dtype=torch.float64)
    layers = linear_layers(network)
    with recorded_moments(layers, lambda name: None) as moments:
        output = network(inputs)
    output.square().sum().backward()
    weight = next(network.parameters())
    assert weight.grad is not None
    seen = 5 if kind == "linear" else 9  # instances, or patches: all that gradients can be made of
    basis = core_basis(moments["0"], 1.0)[:, :seen]
    assert float(outside_core(weight.grad, basis).norm()) < 1e-6 * float(weight.grad.norm())
    torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1], dtype=torch.float64))


def test_hooks_are_removed_when_something_fails() -> None:
    network = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(RuntimeError), recorded_moments(linear_layers(network), lambda name: None):
        network(torch.zeros(1, 4))
    assert not any(module._forward_pre_hooks for module in network.modules())


# --- MUNBA


def test_bargaining_solves_the_nash_equations() -> None:
    generator = torch.Generator().manual_seed(0)
    players = torch.randn(2, 20, generator=generator, dtype=torch.float64) * torch.tensor([[3.0], [0.1]])
    agreed = bargain(players[0], players[1], floor=1e-9)
    weights = torch.linalg.lstsq(players.T, agreed).solution
    assert bool((weights > 0).all())
    torch.testing.assert_close(players.T @ weights, agreed)
    torch.testing.assert_close(players @ agreed, 1 / weights)  # Gᵀ G α = 1/α, so both losses fall


def test_bargaining_with_an_opponent_or_with_nobody() -> None:
    one = torch.tensor([1.0, 2.0])
    assert not bargain(one, -one, floor=1e-3).any()
    torch.testing.assert_close(bargain(one, torch.zeros(2), floor=1e-3), one / one.norm())


# --- GDR-GMA


def test_rectified_gradients_do_not_conflict() -> None:
    generator = torch.Generator().manual_seed(0)
    keep, noise = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    lose = 100 * (noise - keep)  # opposed, and larger
    assert float((keep * lose).sum()) < 0
    descent, ascent = rectified(keep, lose), rectified(lose, keep)
    scale = float(keep.norm() * lose.norm())
    assert abs(float((descent * lose).sum())) < 1e-14 * scale
    assert abs(float((ascent * keep).sum())) < 1e-14 * scale
    assert float((descent * ascent).sum()) > 1e-4 * scale
    assert torch.equal(rectified(keep, -lose), keep)  # they agree
    assert torch.equal(rectified(keep, torch.zeros_like(keep)), keep)
    assert not rectified(keep, -3 * keep).abs().max() > 1e-14  # nothing is left of what is wholly opposed


def test_the_forget_weight_follows_the_retain_loss() -> None:
    rises = torch.tensor([-1.0, 0.0, 0.02, 0.04, 1.0], dtype=torch.float64)
    weights = forget_weight(rises, 100.0, 0.02)
    expected = 1 / (1 + torch.exp(100.0 * (rises - 0.02)))
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(weights[2], torch.tensor(0.5, dtype=torch.float64))


def test_the_bank_rectifies_against_the_mean_of_the_conflicting_gradients() -> None:
    bank = Bank(3)
    ascent = torch.tensor([1.0, 0.0])
    for found in ([-9.0, 9.0], [-1.0, 1.0], [5.0, 5.0]):  # the first is forgotten once there are four
        unmoved = bank.rectify(torch.tensor(found), ascent, from_now=False)
        assert torch.equal(unmoved, ascent)
    left = bank.rectify(torch.tensor([-1.0, 3.0]), ascent, from_now=True)
    torch.testing.assert_close(left, rectified(ascent, torch.tensor([-1.0, 2.0])))
    agreed = torch.tensor([1.0, 2.0])
    assert torch.equal(Bank(1).rectify(agreed, ascent, from_now=True), ascent)


def test_gdr_gma_steps_against_the_rectified_and_weighed_gradients() -> None:
    """Plain steps beside a slow reference; the bank has its say from the second epoch on."""
    job, size, epsilon = in_double(problem((range(FORGET), (0,)))), 2, 0.001
    settings = GdrGmaSettings(epsilon=epsilon, pace=Pace(4, 0.05, batch_size=size, plain=True))
    outcome = GdrGma(settings=settings)(job, Budget(), seed=5, device=CPU, monitor=Silent())
    run, banked = a_run(job), 0
    names = [name for name, _ in run.network.named_parameters()]
    forget, retain = (
        run.stream(rows, size, label)
        for rows, label in ((run.forget_rows, "forget"), (run.retain_rows, "retain"))
    )
    bank: list[Tensor] = []
    weights = []
    for step in range(4 * FORGET // size):
        kept, gone = run.sample(retain.batch(step)), run.sample(forget.batch(step))
        keep = run.mean(run.losses(kept), kept.retained)
        run.network.zero_grad()
        backward(keep)
        descents = gradients(run.network)
        run.network.zero_grad()
        backward(-run.mean(run.losses(gone), gone.forgotten))
        ascents = gradients(run.network)
        weights.append(1 / (1 + exp(100 * (float(keep.detach() - original_loss(run, kept)) - epsilon))))
        bank.append(ascents[names.index("heads.colour.bias")])
        for name, parameter, ours, theirs in zip(
            names, run.network.parameters(), descents, ascents, strict=True
        ):
            inner, descent, ascent = float((ours * theirs).sum()), ours, theirs
            if inner < 0:
                descent = ours - inner / float(theirs.norm() ** 2) * theirs
                ascent = theirs - inner / float(ours.norm() ** 2) * ours
            if name == "heads.colour.bias" and step >= FORGET // size:
                against = [one for one in bank[-FORGET // size :] if float(one @ ascent) < 0]
                for mean in [torch.stack(against).mean(dim=0)] if against else []:
                    ascent = ascent - (mean @ ascent) / mean.norm() ** 2 * mean
                    banked += 1
            direction = (1 - weights[-1]) * descent + weights[-1] * ascent
            with torch.no_grad():
                parameter -= 0.05 * job.recipe.learning_rate / SGD_TO_ADAM * direction
    assert outcome.steps == len(weights)
    assert banked > 0
    assert weights[0] == pytest.approx(1 / (1 + exp(-100 * epsilon)))
    assert outcome.details["forget_weight"] == pytest.approx(sum(weights) / len(weights), abs=1e-4)
    for found, expected in zip(outcome.network.parameters(), run.network.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)


# --- projected ascent


def test_task_level_leaves_the_other_tasks_subspace_alone() -> None:
    run = a_run(in_double(problem((range(FORGET), (0,)))))
    bases = task_bases(run, [OTHERS[:16], OTHERS[16:32], OTHERS[32:48]])
    assert len(bases) == 1
    size = bases[0].shape[0]
    generator = torch.Generator().manual_seed(0)
    direction, retained = torch.randn(2, size + 30, generator=generator, dtype=torch.float64)
    only_task = ProjectedAscentSettings(orthogonalize=False)
    bent = forget_direction([direction], retained, bases, size, only_task)
    assert float((bases[0].T @ bent[:size]).abs().max()) < 1e-12
    assert torch.equal(bent[size:], direction[size:])


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_instance_level_never_raises_the_retain_loss(project: bool, sign: float) -> None:
    generator = torch.Generator().manual_seed(1)
    directions = list(torch.randn(2, 50, generator=generator, dtype=torch.float64))
    retained = sign * (directions[0] + directions[1])
    bases = [torch.linalg.qr(torch.randn(40, 3, generator=generator, dtype=torch.float64))[0] for _ in "ab"]
    settings = ProjectedAscentSettings(project=project)
    bent = forget_direction(directions, retained, bases, 40, settings)
    assert float(bent @ retained) > -1e-10


def test_with_both_levels_off_it_is_negative_gradient_plus() -> None:
    run = a_run(in_double(problem((range(FORGET), (0, 1)))))
    off = ProjectedAscentSettings(project=False, orthogonalize=False, beta=0.8)
    bent_gradients(run, OTHERS[:16], ROWS, [], off)
    found = copy.deepcopy(gradients(run.network))
    run.network.zero_grad()
    backward(combined_loss(run, OTHERS[:16], ROWS, 0.8))
    for (name, _), ours, theirs in zip(
        run.network.named_parameters(), found, gradients(run.network), strict=True
    ):
        if name.startswith("heads.shape"):
            assert not ours.any()
        else:
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)
