"""Both guards on the shared parameters: forgetting may not undo what is retained."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.contract import Data
from worker.engine.orthogonalization import orthogonalize
from worker.engine.projection import gradient_basis, join_bases, project_out
from worker.engine.supervision import Task, instance_losses

MICROBATCHES = 12


def guarded_gradients(
    retain: Tensor,
    forget: Sequence[Tensor],
    bases: Sequence[Tensor],
    shared: list[nn.Parameter],
    others: list[nn.Parameter],
) -> list[Tensor]:
    """Gradients of retain + Σ_t forget_t with respect to `shared` and then `others`.

    forget: one scalar loss per named task. bases: for each, Q (P, k) of the *other* tasks' retain gradients
    with respect to the P shared parameters. On them the task level comes first, then the instance level,
    so that the outcome never opposes the retain gradient.
    """
    parameters = [*shared, *others]
    kept = _gradients(retain, parameters)
    retain_shared = _flat(kept[: len(shared)])
    total = torch.zeros_like(retain_shared)
    for loss, basis in zip(forget, bases, strict=True):
        gone = _gradients(loss, parameters)
        total += project_out(_flat(gone[: len(shared)]), basis)
        for own, added in zip(kept[len(shared) :], gone[len(shared) :], strict=True):
            own += added
    total = retain_shared + orthogonalize(total, retain_shared)
    parts = torch.split(total, [parameter.numel() for parameter in shared])
    return [part.view_as(like) for part, like in zip(parts, shared, strict=True)] + kept[len(shared) :]


def other_tasks_bases(
    network: nn.Module,
    tasks: tuple[Task, ...],
    data: Data,
    retained: Tensor,
    batches: Sequence[Tensor],
    columns: Sequence[int],
    shared: list[nn.Parameter],
    device: torch.device,
) -> list[Tensor]:
    """For each of `columns` (task numbers): Q (P, k) of the other tasks' retain gradients on `batches`."""
    own: list[Tensor] = []
    for column in range(len(tasks)):
        gradients = []
        for rows in batches:
            batch = data.fetch(rows).to(device)
            mask = retained[rows, column].to(device)
            losses = instance_losses(tasks, network(batch.inputs), batch)[:, column]
            gradients.append(_flat(_gradients((losses * mask).sum(), shared)))
        own.append(gradient_basis(torch.stack(gradients)))
    size = sum(parameter.numel() for parameter in shared)
    return [
        join_bases([basis for other, basis in enumerate(own) if other != column], size).to(device)
        for column in columns
    ]


def _gradients(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    found: Any = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient.clone()
        for gradient, parameter in zip(found, parameters, strict=True)
    ]


def _flat(gradients: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])
