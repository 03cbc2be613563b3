"""Both guards on the shared parameters: forgetting may not undo what is retained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.orthogonalization import orthogonalize
from worker.engine.task_subspaces import TaskSubspaces, add_flat


@dataclass(frozen=True)
class Pull:
    """A loss as a network feels it: outputs that it depends on, and its gradients with respect to them; or
    the loss itself, with None."""

    outputs: Sequence[Tensor]
    gradients: Sequence[Tensor | None]


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
) -> list[Tensor]:
    """Gradients of retain + Σ_t forget_t with respect to `shared` and then `others`.

    parts: the step's losses are their sums. A loss costs a backward pass over the instances of its part and
    the heads that it depends on only, which is why retained and forgotten ones come in parts of their own.
    columns: the named tasks', of which alone there are forget losses.
    On the shared parameters the task level comes first, then the instance level, so that the outcome never
    opposes the retain gradient.
    """
    size = sum(parameter.numel() for parameter in shared)
    kept = torch.zeros(size, dtype=shared[0].dtype, device=shared[0].device)
    gone = kept.new_zeros(len(columns), size)
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
    total = kept + orthogonalize(subspaces.outside(gone, columns), kept)
    pieces = torch.split(total, [parameter.numel() for parameter in shared])
    bent = [piece.view_as(like) for piece, like in zip(pieces, shared, strict=True)]
    own = [torch.zeros_like(p) if found is None else found for p, found in zip(others, rest, strict=True)]
    return bent + own
