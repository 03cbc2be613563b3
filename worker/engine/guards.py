"""Both guards on the shared parameters: forgetting may not undo what is retained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.orthogonalization import orthogonalize_in_place
from worker.engine.task_subspaces import TaskSubspaces, add_flat


@dataclass(frozen=True)
class Pull:
    """A loss as a network feels it: outputs that it depends on, and its gradients with respect to them; or
    the loss itself, with None."""

    outputs: Sequence[Tensor]
    gradients: Sequence[Tensor | None]


@dataclass(frozen=True)
class FlatGradients:
    """Room for the gradients of the P shared parameters, written anew by each step: to ask the system for as
    much fresh memory takes longer than to compute with it. retain, total: (P,). forget: (m, P)."""

    retain: Tensor
    forget: Tensor
    total: Tensor

    @staticmethod
    def of(shared: list[nn.Parameter], tasks: int) -> "FlatGradients":
        size = sum(parameter.numel() for parameter in shared)
        retain = torch.empty(size, dtype=shared[0].dtype, device=shared[0].device)
        return FlatGradients(retain, retain.new_empty(tasks, size), torch.empty_like(retain))


@dataclass(frozen=True)
class PartPulls:
    """Of some of a step's instances: the retain loss's, and by column the forget losses' of the named tasks;
    only of losses that the instances have."""

    retain: Pull | None
    forget: Mapping[int, Pull]


def pull_of(outputs: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> Pull | None:
    """Of the outputs that have a gradient, those that depend on what may move; None if there are none."""
    felt = [name for name in gradients if outputs[name].requires_grad]
    return Pull([outputs[name] for name in felt], [gradients[name] for name in felt]) if felt else None


def guarded_gradients(
    parts: Iterable[PartPulls],
    subspaces: TaskSubspaces,
    columns: Sequence[int],
    shared: list[nn.Parameter],
    others: list[nn.Parameter],
    room: FlatGradients,
) -> list[Tensor]:
    """Gradients of retain + Σ_t forget_t with respect to `shared`, which lie in `room`, then `others`.

    parts: the step's losses are their sums. A loss costs a backward pass over the instances of its part and
    the heads that it depends on only, which is why retained and forgotten ones come in parts of their own.
    columns: the named tasks', of which alone there are forget losses.
    On the shared parameters the task level comes first, then the instance level, so that the outcome never
    opposes the retain gradient.
    """
    kept, gone = room.retain.zero_(), room.forget.zero_()
    rest: list[Tensor | None] = [None] * len(others)

    def follow(part: PartPulls) -> None:
        pulls = [] if part.retain is None else [(kept, part.retain)]
        rows = zip(gone, columns, strict=True)
        pulls += [(row, part.forget[column]) for row, column in rows if column in part.forget]
        for number, (flat, pull) in enumerate(pulls):
            found: Any = torch.autograd.grad(
                pull.outputs, [*shared, *others], pull.gradients,
                retain_graph=number + 1 < len(pulls), allow_unused=True,
            )  # fmt: skip
            add_flat(flat, found[: len(shared)], shared)
            for index, added in enumerate(found[len(shared) :]):
                if added is not None:
                    before = rest[index]
                    rest[index] = added if before is None else before + added

    for part in parts:
        follow(part)
        del part  # with all that was computed for it, before the next one is
    total = subspaces.outside(gone, columns, out=room.total)
    total = orthogonalize_in_place(total, kept, scratch=gone[0]).add_(kept)
    pieces = torch.split(total, [parameter.numel() for parameter in shared])
    bent = [piece.view_as(like) for piece, like in zip(pieces, shared, strict=True)]
    own = [torch.zeros_like(p) if found is None else found for p, found in zip(others, rest, strict=True)]
    return bent + own
