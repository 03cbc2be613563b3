"""What defines the baselines that bend gradients, held against known values and slow, obvious references."""

import copy
from math import exp

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from tests.engine.baseline_bank import (
    CPU,
    FORGET,
    OTHERS,
    ROWS,
    TASKS,
    a_run,
    decaying,
    gradients,
    in_double,
    problem,
)
from worker.engine.baselines.core_space import core_basis, linear_layers, outside_core, recorded_moments
from worker.engine.baselines.gdr_gma import (
    Bank,
    GdrGma,
    GdrGmaSettings,
    forget_weight,
    original_loss,
    rectified,
)
from worker.engine.baselines.gradients import backward, flat
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
from worker.engine.contract import Budget, Silent
from worker.engine.descent import SGD_TO_ADAM
from worker.engine.projected_ascent import (
    ProjectedAscentSettings,
    bent_gradients,
    forget_direction,
    task_bases,
)
from worker.engine.tasks import kind_of

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
