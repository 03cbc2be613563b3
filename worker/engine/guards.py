"""Both guards on the shared parameters: forgetting may not undo what is retained."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.orthogonalization import orthogonalize
from worker.engine.task_subspaces import TaskSubspaces, add_flat


def guarded_gradients(
    parts: Iterable[tuple[Tensor | None, Tensor | None]],
    subspaces: TaskSubspaces,
    columns: Sequence[int],
    shared: list[nn.Parameter],
    others: list[nn.Parameter],
) -> list[Tensor]:
    """Gradients of retain + Σ_t forget_t with respect to `shared` and then `others`.

    parts: of some of a step's instances each, the retain loss and the forget losses of all tasks (T,), None
    where the part has none; the step's losses are their sums. A loss costs a backward pass over the instances
    of its part only, which is why retained and forgotten ones come in parts of their own. columns: the named
    tasks', of which alone there are forget losses.
    On the shared parameters the task level comes first, then the instance level, so that the outcome never
    opposes the retain gradient.
    """
    size = sum(parameter.numel() for parameter in shared)
    kept = torch.zeros(size, dtype=shared[0].dtype, device=shared[0].device)
    gone = kept.new_zeros(len(columns), size)
    rest = [torch.zeros_like(parameter) for parameter in others]
    for retain, forget in parts:
        losses = [] if retain is None else [(kept, retain)]
        if forget is not None:
            losses += [(flat, forget[column]) for flat, column in zip(gone, columns, strict=True)]
        for number, (flat, loss) in enumerate(losses):
            found: Any = torch.autograd.grad(
                loss, [*shared, *others], retain_graph=number + 1 < len(losses), allow_unused=True
            )
            add_flat(flat, found[: len(shared)], shared)
            for own, added in zip(rest, found[len(shared) :], strict=True):
                if added is not None:
                    own += added
    total = kept + orthogonalize(subspaces.outside(gone, columns), kept)
    pieces = torch.split(total, [parameter.numel() for parameter in shared])
    return [piece.view_as(like) for piece, like in zip(pieces, shared, strict=True)] + rest
