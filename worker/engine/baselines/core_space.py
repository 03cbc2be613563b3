"""The core gradient space of a layer: where the gradients of what is retained can lie.

The gradient of a linear layer's weight (out, in) is a sum of outer products whose rows are inputs of the
layer. So the leading directions of its inputs on the retain set span (nearly) all retain gradients (Saha et
al. 2021, arXiv 2103.09762). A convolution is a linear layer over its unfolded patches.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

LARGEST = 8192


def linear_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers that have a core space, by name: linear ones and convolutions of a single group.

    Those with more than `LARGEST` inputs are left out: the space costs the square of that in memory.
    """
    return {
        name: layer
        for name, layer in network.named_modules()
        if (
            isinstance(layer, nn.Linear)
            or (isinstance(layer, nn.Conv2d) and layer.groups == 1 and not isinstance(layer.padding, str))
        )
        and layer.weight[0].numel() <= LARGEST
    }


@contextmanager
def recorded_moments(
    layers: Mapping[str, nn.Module], weights: Callable[[str], Tensor | None]
) -> Iterator[dict[str, Tensor]]:
    """While open, adds up Σ x xᵀ (in, in) of the inputs x of each layer, in double precision.

    weights(name): which instances of the current batch count, (B,) bool, or None for all. Hooks are removed
    on the way out.
    """
    moments: dict[str, Tensor] = {}
    handles: list[RemovableHandle] = []

    def observe(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(layer: nn.Module, given: tuple[Any, ...]) -> None:
            rows = _inputs(layer, given[0].detach(), weights(name)).double()
            moments[name] = moments.get(name, 0) + rows.T @ rows

        return hook

    try:
        for name, layer in layers.items():
            handles.append(layer.register_forward_pre_hook(observe(name)))
        yield moments
    finally:
        for handle in handles:
            handle.remove()


def core_basis(moment: Tensor, share: float) -> Tensor:
    """Σ x xᵀ (in, in) → orthonormal columns (in, k): leading directions with `share` of the singular values.

    As the authors count: the largest k with Σ_{i ≤ k} σ_i ≤ share · Σ σ_i, σ_i those of the matrix of inputs.
    """
    squares, vectors = torch.linalg.eigh(moment)
    values = squares.flip(0).clamp(min=0).sqrt()
    inside = values.cumsum(0) <= share * values.sum() * (1 + 1e-12)
    leading: Tensor = vectors.flip(1)[:, : int(inside.sum()) if float(values.sum()) > 0 else 0]
    return leading


def outside_core(gradient: Tensor, basis: Tensor) -> Tensor:
    """The part of a weight's gradient (out, …) whose rows are orthogonal to the basis (in, k)."""
    rows = gradient.flatten(1).double()
    return (rows - rows @ basis @ basis.T).to(gradient.dtype).view_as(gradient)


def _inputs(layer: nn.Module, given: Tensor, keep: Tensor | None) -> Tensor:
    """(B, …) → (n, in)."""
    if keep is not None:
        given = given[keep]
    if isinstance(layer, nn.Conv2d):
        patches: Tensor = functional.unfold(
            given, layer.kernel_size, layer.dilation, _pair(layer.padding), layer.stride
        )
        return patches.transpose(1, 2).reshape(-1, patches.shape[1])
    rows: Tensor = given.reshape(-1, given.shape[-1])
    return rows


def _pair(padding: Any) -> tuple[int, int]:
    first, second = padding
    return int(first), int(second)
