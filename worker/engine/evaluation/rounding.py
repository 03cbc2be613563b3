"""A network as it is after its weights were rounded, as they are to be served cheaply.

Unlearning that moves weights by less than a rounding step is undone by rounding: Zhang et al. 2024,
"Catastrophic Failure of LLM Unlearning via Quantization" (arXiv 2410.16454).
"""

import copy
from typing import Literal

import torch
from torch import Tensor, nn

Rounding = Literal["int8", "bfloat16"]
ROUNDINGS: tuple[Rounding, ...] = ("int8", "bfloat16")
_LEVELS = 127


def rounded(network: nn.Module, rounding: Rounding) -> nn.Module:
    """A copy with rounded weights, still computing in float32.

    int8: every weight of two or more dimensions to 255 equidistant values per output channel, symmetric
    around 0 (Krishnamoorthi 2018, arXiv 1806.08342); biases and normalisation stay, as is usual.
    bfloat16: every floating-point parameter and buffer. Rounding a second time changes nothing.
    """
    made = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(_rounded(parameter, rounding))
        if rounding == "bfloat16":
            for buffer in made.buffers():
                buffer.copy_(_rounded(buffer, rounding))
    return made


def share_unmoved(before: nn.Module, after: nn.Module, rounding: Rounding) -> float:
    """The share of rounded parameters that are stored as the same number in both: there, whatever unlearning
    did is lost. For int8 that number is the step, of the channel's own size."""
    same = total = 0
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        if not old.is_floating_point() or (rounding == "int8" and old.dim() < 2):
            continue
        same += int((_stored(old.detach(), rounding) == _stored(new.detach(), rounding)).sum())
        total += old.numel()
    return same / total if total else 1.0


def _rounded(values: Tensor, rounding: Rounding) -> Tensor:
    if not values.is_floating_point() or (rounding == "int8" and values.dim() < 2):
        return values
    stored = _stored(values, rounding)
    return (stored * _step(values) if rounding == "int8" else stored).to(values.dtype)


def _stored(values: Tensor, rounding: Rounding) -> Tensor:
    if rounding == "bfloat16":
        return values.to(torch.bfloat16)
    return (values.double() / _step(values)).round()


def _step(values: Tensor) -> Tensor:
    """Per channel; in double precision, so that a channel's largest weight comes out as it was, and with it
    the step of a second rounding."""
    step = values.double().flatten(1).abs().amax(dim=1) / _LEVELS
    return torch.where(step > 0, step, torch.ones_like(step)).reshape(-1, *[1] * (values.dim() - 1))
