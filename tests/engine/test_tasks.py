"""Task kinds: per-instance losses against a slow loop, divergences, scores; and what batches are made of."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from worker.engine.contract import Batch, TaskSpec
from worker.engine.rows import RowStream
from worker.engine.supervision import Task, instance_losses, training_loss
from worker.engine.tasks import TASK_KINDS
from worker.engine.tasks.kind import TaskKind

CLASSES = TASK_KINDS["classification"]
REALS = TASK_KINDS["regression"]
seeds = st.integers(0, 2**31)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds)
def test_losses_equal_a_slow_loop(seed: int) -> None:
    logits, wanted = (
        noise(seed, 7, 4),
        torch.randint(0, 4, (7,), generator=torch.Generator().manual_seed(seed)),
    )
    slow = [-(row[label] - row.exp().sum().log()) for row, label in zip(logits, wanted, strict=True)]
    torch.testing.assert_close(CLASSES.losses(logits, wanted), torch.stack(slow))
    outputs, targets = noise(seed, 7, 3), noise(seed + 1, 7, 3)
    slow = [
        sum((o - t) ** 2 for o, t in zip(a, b, strict=True)) / 3
        for a, b in zip(outputs, targets, strict=True)
    ]
    torch.testing.assert_close(REALS.losses(outputs, targets), torch.stack(slow))


@given(seeds)
def test_the_training_loss_ignores_missing_supervision_and_weighs_tasks(seed: int) -> None:
    tasks = (
        Task(TaskSpec("colour", "classification", 4), CLASSES, torch.ones(()), 1.0),
        Task(TaskSpec("size", "regression", 1), REALS, torch.ones(1), 0.5),
    )
    outputs = {"colour": noise(seed, 5, 4), "size": noise(seed + 1, 5, 1)}
    targets = {"colour": torch.arange(5) % 4, "size": noise(seed + 2, 5, 1)}
    present = torch.rand(5, 2, generator=torch.Generator().manual_seed(seed)) < 0.6
    losses = instance_losses(tasks, outputs, Batch(torch.zeros(5), targets, present))
    expected = 0.0
    for column, weight in ((0, 1.0), (1, 0.5)):
        kept = [float(losses[row, column]) for row in range(5) if present[row, column]]
        expected += weight * sum(kept) / len(kept) if kept else 0.0
    loss = training_loss(losses, present, torch.tensor([1.0, 0.5]).double())
    assert float(loss) == pytest.approx(expected)


@given(seeds)
@pytest.mark.parametrize("kind", [CLASSES, REALS])
def test_divergences_are_zero_at_the_reference_and_positive_elsewhere(kind: object, seed: int) -> None:
    one, other = noise(seed, 6, 3), noise(seed + 1, 6, 3)
    torch.testing.assert_close(kind.divergences(one, one), torch.zeros(6).double())  # type: ignore[attr-defined]
    assert bool((kind.divergences(one, other) > 0).all())  # type: ignore[attr-defined]


@pytest.mark.parametrize("unit", [1e-2, 60.0])
@pytest.mark.parametrize("kind", [REALS, TASK_KINDS["depth"]])
def test_loss_and_divergence_have_one_unit(kind: TaskKind, unit: float) -> None:
    """What is made of both, as the retain loss is, must not depend on whether days or hours were stored."""
    shape = (6, 3) if kind is REALS else (6, 1, 4, 4)
    answers, targets, reference = (noise(seed, *shape).abs() + 0.1 for seed in (1, 2, 3))
    loss = kind.losses(answers * unit, targets * unit) / kind.losses(answers, targets)
    divergence = kind.divergences(answers * unit, reference * unit) / kind.divergences(answers, reference)
    torch.testing.assert_close(loss, divergence)
    torch.testing.assert_close(loss, loss[:1].expand_as(loss))


def test_scores_by_known_values() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0]])
    assert CLASSES.scores(logits, torch.tensor([0, 0, 0]), torch.ones(())).tolist() == [1.0, 0.0, 1.0]
    targets = torch.tensor([[0.0], [1.0], [5.0]])
    scores = REALS.scores(torch.tensor([[0.0], [2.0], [100.0]]), targets, torch.tensor([2.0]))
    assert scores.tolist() == [1.0, 0.5, 0.0]


def test_rulers() -> None:
    targets = torch.tensor([[0.0, 3.0], [2.0, 3.0]])
    torch.testing.assert_close(REALS.fit_ruler(targets), torch.tensor([2.0**0.5, 1.0]))
    torch.testing.assert_close(REALS.fit_ruler(targets[:1]), torch.ones(2))


@given(st.integers(1, 40), st.integers(1, 12), seeds)
def test_row_streams_see_all_rows_once_per_pass_and_are_addressed_by_step(
    pool: int, batch: int, seed: int
) -> None:
    rows = torch.arange(100, 100 + pool)
    stream = RowStream(rows, batch, seed=seed, label="test")
    first = [stream.batch(step) for step in range(stream.batches_per_pass)]
    seen = torch.cat(first)
    assert len(seen.unique()) == len(seen) == pool // min(batch, pool) * min(batch, pool)
    later = stream.batch(3 * stream.batches_per_pass)
    again = RowStream(rows, batch, seed=seed, label="test")
    assert torch.equal(again.batch(3 * stream.batches_per_pass), later)
    assert torch.equal(again.batch(0), first[0])
