"""Tasks bound to one run's data, and the (instance x task) matrices of losses, divergences and scores.

B is the batch, T the number of tasks. Matrices are (B, T) in the order of the tasks; entries whose
supervision is missing are finite but mean nothing, and every mean below is over a mask.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.contract import Batch, Data, TaskSpec
from worker.engine.room import instances_at_once
from worker.engine.tasks import TaskKind, is_dense, kind_of

RULER_SAMPLE = 2048


@dataclass(frozen=True)
class Task:
    """A task with its kind, its metric's ruler and its weight in the training loss."""

    spec: TaskSpec
    kind: TaskKind
    ruler: Tensor
    weight: float

    @property
    def name(self) -> str:
        return self.spec.name


def bind_tasks(
    specs: tuple[TaskSpec, ...], train: Data, weights: Mapping[str, float], device: torch.device
) -> tuple[Task, ...]:
    """Fit each metric's ruler on at most `RULER_SAMPLE` evenly spaced training instances.

    Rulers serve metrics only, never a loss: exact retraining does not depend on them. Dense tasks measure
    with none, so they see no more instances than are held at once anyhow.
    """
    count = min(len(train), RULER_SAMPLE)
    rows = torch.linspace(0, len(train) - 1, count).round().to(torch.int64)
    targets: dict[str, list[Tensor]] = {spec.name: [] for spec in specs}
    for part in torch.split(rows, instances_at_once(train)):
        wanted = [spec for spec in specs if not targets[spec.name] or not is_dense(spec)]
        if not wanted:
            break
        batch = train.fetch(part)
        for spec in wanted:
            targets[spec.name].append(batch.targets[spec.name][batch.present[:, specs.index(spec)]])
    rulers = {spec.name: kind_of(spec).fit_ruler(torch.cat(targets[spec.name])).to(device) for spec in specs}
    return tuple(
        Task(spec, kind_of(spec), rulers[spec.name], float(weights.get(spec.name, 1.0))) for spec in specs
    )


def instance_losses(tasks: tuple[Task, ...], outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """(B, T) per-instance losses ℓ_t, without the task weights."""
    columns = [task.kind.losses(outputs[task.name], batch.targets[task.name]) for task in tasks]
    return torch.stack(columns, dim=1)


def instance_divergences(
    tasks: tuple[Task, ...], outputs: Mapping[str, Tensor], reference: Mapping[str, Tensor]
) -> Tensor:
    """(B, T) per-instance divergences D_t from reference outputs, without the task weights."""
    columns = [task.kind.divergences(outputs[task.name], reference[task.name]) for task in tasks]
    return torch.stack(columns, dim=1)


def instance_scores(tasks: tuple[Task, ...], outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """(B, T) per-instance scores in 0..1; 100 times their mean over a mask is the metric in points."""
    columns = [task.kind.scores(outputs[task.name], batch.targets[task.name], task.ruler) for task in tasks]
    return torch.stack(columns, dim=1)


def task_weights(tasks: tuple[Task, ...], device: torch.device) -> Tensor:
    """(T,) the recipe's loss weights."""
    return torch.tensor([task.weight for task in tasks], device=device)


def masked_means(values: Tensor, mask: Tensor, counts: Tensor | None = None) -> Tensor:
    """(B, T), (B, T) bool → (T,) means over the mask; 0 for a task without any.

    counts: (T,) at least 1, of a larger batch that these instances are a part of: the means of its parts
    then add up to its own.
    """
    kept = values.masked_fill(~mask, 0.0)
    return kept.sum(dim=0) / (mask.sum(dim=0).clamp(min=1) if counts is None else counts)


def training_loss(losses: Tensor, mask: Tensor, weights: Tensor, counts: Tensor | None = None) -> Tensor:
    """Σ_t w_t · mean over the supervised instances of the batch: what recipes train with."""
    return (masked_means(losses, mask, counts) * weights).sum()
