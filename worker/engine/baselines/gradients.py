"""Gradients of a loss: left in the parameters, as tensors, or as one vector."""

from typing import Any

import torch
from torch import Tensor, nn


def backward(loss: Tensor) -> Tensor:
    """Leave the gradients of a loss in the parameters; the loss, detached."""
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def flat(gradients: list[Tensor]) -> Tensor:
    """One vector (P,) of all gradients."""
    return torch.cat([gradient.flatten() for gradient in gradients])


def gradients_of(loss: Tensor, parameters: list[nn.Parameter], *, keep: bool = False) -> list[Tensor]:
    """∂ loss / ∂ parameters, zeros where the loss does not depend on one. keep: the graph, for more calls."""
    found: Any = torch.autograd.grad(loss, parameters, retain_graph=keep, allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for gradient, parameter in zip(found, parameters, strict=True)
    ]
