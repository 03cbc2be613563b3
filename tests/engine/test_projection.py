"""Both guards as mathematics: properties over random gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from worker.engine.guards import FlatGradients, PartPulls, Pull, guarded_gradients
from worker.engine.orthogonalization import orthogonalize, orthogonalize_in_place
from worker.engine.projection import gradient_basis, project_out
from worker.engine.task_subspaces import TaskSubspaces, span

SIZE = 12


def gradients(seed: int, count: int) -> Tensor:
    return torch.randn(count, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


seeds = st.integers(0, 2**31)


@given(seeds, st.integers(1, 9), st.floats(0.1, 1.0))
def test_basis_is_orthonormal(seed: int, count: int, energy: float) -> None:
    basis = gradient_basis(gradients(seed, count), energy)
    torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1], dtype=torch.float64))


@given(seeds, st.integers(1, 9))
def test_projection_is_idempotent_symmetric_and_orthogonal(seed: int, count: int) -> None:
    basis = gradient_basis(gradients(seed, count), 1.0)
    identity = torch.eye(SIZE, dtype=torch.float64)
    projector = project_out(identity, basis)
    torch.testing.assert_close(projector @ projector, projector)
    torch.testing.assert_close(projector, projector.T)
    torch.testing.assert_close(gradients(seed, count) @ projector, torch.zeros(count, SIZE).double())


@given(seeds, st.integers(2, 9), st.floats(0.2, 0.95))
def test_basis_holds_the_energy_it_promises_with_the_fewest_columns(
    seed: int, count: int, energy: float
) -> None:
    given_gradients = gradients(seed, count)
    basis = gradient_basis(given_gradients, energy)
    total = given_gradients.square().sum()
    assert (given_gradients @ basis).square().sum() >= energy * total - 1e-9
    fewer = torch.linalg.svd(given_gradients)[2][: basis.shape[1] - 1]
    assert (given_gradients @ fewer.T).square().sum() < energy * total


def test_basis_of_vanished_gradients_is_empty_and_projects_nothing() -> None:
    basis = gradient_basis(torch.zeros(3, SIZE))
    assert basis.shape == (SIZE, 0)
    torch.testing.assert_close(project_out(torch.ones(SIZE), basis), torch.ones(SIZE))


def slow_projection(own: Tensor, column: int) -> Tensor:
    """own (T, n, P) → P_t, straight from the definition: nothing of what the other tasks' bases hold."""
    others = [gradient_basis(own[task]) for task in range(len(own)) if task != column]
    left, values, _ = torch.linalg.svd(torch.cat(others, dim=1), full_matrices=False)
    kept = left[:, values > 1e-6]
    return torch.eye(own.shape[2], dtype=own.dtype) - kept @ kept.T


@given(seeds, st.integers(2, 4), st.integers(1, 3), st.booleans())
def test_shared_subspaces_project_as_each_task_s_own_bases_do(
    seed: int, tasks: int, count: int, overlapping: bool
) -> None:
    own = gradients(seed, tasks * count).view(tasks, count, SIZE)
    if overlapping:
        own[1] = own[0]
    columns = list(range(tasks))
    forget = gradients(seed + 1, tasks)
    subspaces = span(own.clone(), columns, columns)
    expected = sum(slow_projection(own, column) @ forget[column] for column in columns)
    torch.testing.assert_close(subspaces.outside(forget, columns), expected)
    for column in columns:
        projector = project_out(torch.eye(SIZE, dtype=own.dtype), subspaces.others(column))
        torch.testing.assert_close(projector, slow_projection(own, column))
        torch.testing.assert_close(projector @ projector, projector)
        torch.testing.assert_close(projector, projector.T)


@given(seeds)
def test_subspaces_of_large_networks_are_held_in_half_the_room(seed: int) -> None:
    own, forget = gradients(seed, 9).view(3, 3, SIZE).float(), gradients(seed + 1, 3).float()
    halved = span(own.bfloat16(), range(3), range(3))
    assert halved.basis.dtype == torch.bfloat16
    found = halved.outside(forget, range(3))
    expected = span(own, range(3), range(3)).outside(forget, range(3))
    assert found.dtype == torch.float32
    assert torch.linalg.vector_norm(found - expected) < 0.05 * torch.linalg.vector_norm(forget)


@given(seeds, st.floats(1e-12, 1e12))
def test_a_task_s_scale_does_not_change_what_it_spans(seed: int, scale: float) -> None:
    own, forget = gradients(seed, 6).view(3, 2, SIZE), gradients(seed + 1, 3)
    scaled = own * torch.tensor([scale, 1.0, 1.0], dtype=own.dtype)[:, None, None]
    found = [span(each.clone(), range(3), range(3)).outside(forget, range(3)) for each in (own, scaled)]
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-6)


def test_a_single_task_has_no_other_to_stay_out_of() -> None:
    subspaces = span(torch.zeros(0, 4, SIZE), [], [0])
    forget = gradients(3, 1).float()
    torch.testing.assert_close(subspaces.outside(forget, [0]), forget[0])
    assert subspaces.others(0).shape == (SIZE, 0)


@given(seeds, st.floats(1e-3, 1e3))
def test_orthogonalized_never_opposes_the_retain_gradient(seed: int, scale: float) -> None:
    forget, retain = gradients(seed, 2)
    changed = orthogonalize(scale * forget, retain)
    assert changed @ retain >= -1e-9 * scale
    if forget @ retain >= 0:
        torch.testing.assert_close(changed, scale * forget)


@given(seeds)
def test_orthogonalizing_in_place_gives_the_same_bits_and_leaves_what_is_retained(seed: int) -> None:
    forget, retain = gradients(seed, 2).float()
    expected, before = orthogonalize(forget, retain), retain.clone()
    found = orthogonalize_in_place(forget, retain, torch.full_like(retain, float("nan")))
    assert found is forget
    assert torch.equal(found, expected)
    assert torch.equal(retain, before)


@given(seeds, st.integers(-30, 30), st.integers(-30, 30))
def test_orthogonalizing_is_safe_at_every_scale(seed: int, one: int, other: int) -> None:
    """In single precision, where squares of such numbers would be 0 or infinite."""
    forget, retain = gradients(seed, 2).float()
    changed = orthogonalize(forget * 10.0**one, retain * 10.0**other)
    torch.testing.assert_close(changed / 10.0**one, orthogonalize(forget, retain), rtol=1e-4, atol=1e-5)


@given(seeds, st.integers(2, 4), st.integers(2, 4))
def test_neither_the_order_of_tasks_nor_that_of_gradients_matters(seed: int, tasks: int, count: int) -> None:
    own, forget = gradients(seed, tasks * count).view(tasks, count, SIZE), gradients(seed + 1, tasks)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(tasks, generator=generator)
    mixed = own[order][:, torch.randperm(count, generator=generator)]
    columns = list(range(tasks))
    expected = span(own.clone(), columns, columns).outside(forget, columns)
    found = span(mixed.clone(), columns, columns).outside(forget[order], columns)
    torch.testing.assert_close(found, expected)
    named = order.tolist()
    reordered = span(own.clone(), columns, named).outside(forget[order], named)
    torch.testing.assert_close(reordered, expected)


def test_orthogonalized_against_a_vanished_gradient_is_unchanged() -> None:
    forget = gradients(1, 1)[0]
    torch.testing.assert_close(orthogonalize(forget, torch.zeros_like(forget)), forget)


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_guarded_step_does_not_raise_the_retain_loss_to_first_order(seed: int, projected: bool) -> None:
    """Central finite difference along the forget part of the guarded direction, in float64; with and without
    subspaces of other tasks to stay out of."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.nn.Parameter(torch.randn(4, 3, generator=generator, dtype=torch.float64))
    head = torch.nn.Parameter(torch.randn(3, generator=generator, dtype=torch.float64))
    inputs = torch.randn(16, 4, generator=generator, dtype=torch.float64)
    wanted = torch.randn(16, generator=generator, dtype=torch.float64)

    def retain_loss(shared: Tensor) -> Tensor:
        return ((inputs @ shared).tanh() @ head - wanted).square().mean()

    def pull(loss: Tensor) -> Pull:
        return Pull([loss], [torch.ones_like(loss)])

    retain = retain_loss(weight)
    forget = -2 * retain_loss(weight) + ((inputs @ weight).sum(dim=1) - 1).abs().mean()
    free = TaskSubspaces(torch.zeros(0, 12).double(), {0: torch.zeros(0, 0).double()})
    subspaces = span(gradients(seed, 6).view(2, 3, SIZE), [0, 1], [0]) if projected else free
    room = FlatGradients.of([weight], 1)
    for values in (room.retain, room.forget, room.total):
        values.fill_(float("nan"))  # whatever was there before
    guarded = guarded_gradients(
        [PartPulls(pull(retain), {0: pull(forget)})], subspaces, [0], [weight], [head], room
    )[0]
    (bare,) = torch.autograd.grad(retain_loss(weight), [weight])
    forgetting = guarded - bare
    step = 1e-5
    with torch.no_grad():
        slope = (retain_loss(weight - step * forgetting) - retain_loss(weight + step * forgetting)) / (
            2 * step
        )
    assert slope <= 1e-6
    if projected:
        # Inside of the other tasks' span only the instance level has a say: along the retain gradient.
        inside = subspaces.others(0).T @ forgetting.flatten().detach()
        along = subspaces.others(0).T @ bare.flatten()
        assert (inside @ along).square() >= 0.99 * inside.square().sum() * along.square().sum()
