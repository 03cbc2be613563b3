"""What the retain gradients of each task span in the shared parameters, kept once for all tasks.

P is the number of shared parameters, T of tasks. A task's update must stay out of what the *other* tasks
span, and these spans overlap from task to task: one orthonormal basis of all of them (r, P), and for each
task a projector (r, r) in its coordinates, hold T bases of up to P x r numbers in the room of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.contract import Data
from worker.engine.forward import Precision, answers
from worker.engine.projection import (
    combined,
    combined_in_place,
    coordinates,
    gram,
    independent_directions,
    leading_directions,
    orthonormal,
    subtract_combination,
)
from worker.engine.room import in_parts
from worker.engine.sending import send
from worker.engine.supervision import Task, instance_losses

MICROBATCHES = 4
"""Few, and large ones: a step walks over as many directions as they leave."""
HELD_IN_FULL = 1 << 22
"""Of more shared parameters than these, gradients and basis are held in bfloat16: half the room, and an
update that stays out of what they span but for half a percent."""


@dataclass(frozen=True)
class TaskSubspaces:
    """basis: (r, P), orthonormal rows. projectors: by named task's column, (r, r) onto the other tasks'."""

    basis: Tensor
    projectors: Mapping[int, Tensor]

    def outside(self, gradients: Tensor, columns: Sequence[int], *, out: Tensor | None = None) -> Tensor:
        """Σ_t (g_t − Q_t Q_tᵀ g_t), (P,), for gradients (m, P) of the tasks in `columns`, where Q_t spans the
        other tasks' gradients. The basis is walked twice, however many tasks there are. out: where to."""
        along = coordinates(gradients, self.basis)
        inside = torch.stack([self.projectors[c] @ along[k] for k, c in enumerate(columns)]).sum(dim=0)
        return subtract_combination(torch.sum(gradients, dim=0, out=out), inside, self.basis)

    def others(self, column: int) -> Tensor:
        """Q_t (P, k), orthonormal columns."""
        values, vectors = torch.linalg.eigh(self.projectors[column].double())
        return combined(vectors[:, values > 0.5].T, self.basis).T

    def state(self) -> dict[str, Any]:
        return {"basis": self.basis, "projectors": {str(c): p for c, p in self.projectors.items()}}

    @staticmethod
    def from_state(state: Mapping[str, Any], device: torch.device) -> "TaskSubspaces":
        projectors = {int(c): values.to(device).clone() for c, values in state["projectors"].items()}
        return TaskSubspaces(state["basis"].to(device).clone(), projectors)


def estimate_subspaces(
    network: nn.Module,
    tasks: tuple[Task, ...],
    data: Data,
    retained: Tensor,
    batches: Sequence[Tensor],
    columns: Sequence[int],
    shared: list[nn.Parameter],
    device: torch.device,
    *,
    most: int | None = None,
    precision: Precision = "float32",
) -> TaskSubspaces:
    """For the named tasks in `columns`, from one retain gradient per task and microbatch.

    retained: (N, T) on the CPU. most: instances at once. A task that is the only one named needs no gradient
    of its own. One forward pass serves all tasks of a microbatch.
    """
    needed = [u for u in range(len(tasks)) if any(u != column for column in columns)]
    size = sum(parameter.numel() for parameter in shared)
    held = shared[0].dtype if size <= HELD_IN_FULL else torch.bfloat16
    gradients = torch.empty(len(needed), len(batches), size, dtype=held, device=device)
    for number, rows in enumerate(batches):
        found = torch.zeros(len(needed), size, dtype=shared[0].dtype, device=device)
        for part in in_parts(rows, most or len(rows)):
            batch = data.fetch(part).to(device)
            losses = instance_losses(tasks, answers(network, batch.inputs, precision), batch)
            kept = losses.masked_fill(~send(retained[part], device), 0.0).sum(dim=0)
            for index, column in enumerate(needed):
                last = column == needed[-1]
                add_gradient(found[index], kept[column], shared, keep_graph=not last)
        gradients[:, number] = found
    return span(gradients, needed, columns)


def span(gradients: Tensor, needed: Sequence[int], columns: Sequence[int]) -> TaskSubspaces:
    """gradients (U, n, P), those of the task numbered `needed[u]` at u; the basis takes their place."""
    tasks, microbatches, size = gradients.shape
    rows = gradients.view(tasks * microbatches, size)
    products = gram(rows)
    own: list[Tensor] = []  # per task (U·n, k): its basis, as combinations of all gradients
    for index in range(tasks):
        mine = slice(index * microbatches, (index + 1) * microbatches)
        leading = leading_directions(products[mine, mine])
        weights = products.new_zeros(len(rows), leading.shape[1])
        weights[mine] = leading
        own.append(weights)
    every = torch.cat(own, dim=1) if own else products.new_zeros(0, 0)
    joint = every @ independent_directions(every.T @ products @ every)
    basis = orthonormal(combined_in_place(joint.T, rows)).clone()  # gives back the room of the gradients
    projectors: dict[int, Tensor] = {}
    for column in columns:
        theirs = [weights for weights, task in zip(own, needed, strict=True) if task != column]
        coordinates = joint.T @ products @ torch.cat(theirs, dim=1) if theirs else joint.new_zeros(0, 0)
        plane = coordinates @ independent_directions(coordinates.T @ coordinates)
        projectors[column] = (plane @ plane.T).to(torch.promote_types(basis.dtype, torch.float32))
    return TaskSubspaces(basis, projectors)


def add_gradient(flat: Tensor, loss: Tensor, parameters: Sequence[nn.Parameter], *, keep_graph: bool) -> None:
    """Add ∂ loss / ∂ parameters, one after the other, to a flat vector (P,)."""
    found: Any = torch.autograd.grad(loss, parameters, retain_graph=keep_graph, allow_unused=True)
    add_flat(flat, found, parameters)


def add_flat(flat: Tensor, found: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]) -> None:
    """Add gradients (None where there is none) to a flat vector (P,), in one go."""
    places = torch.split(flat, [parameter.numel() for parameter in parameters])
    pairs = [
        (place, gradient.reshape(-1))
        for place, gradient in zip(places, found, strict=True)
        if gradient is not None
    ]
    if pairs:
        torch._foreach_add_([place for place, _ in pairs], [gradient for _, gradient in pairs])
