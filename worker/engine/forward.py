"""One forward pass, in float32 or, on CUDA, with bfloat16 where torch holds it safe."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16"]


def answers(network: nn.Module, inputs: Tensor, precision: Precision = "float32") -> Mapping[str, Tensor]:
    """The network's outputs per task, always in the parameters' type, so that losses, divergences and
    gradients of parameters are in float32 whatever the layers computed in.

    "bfloat16" holds on CUDA only: the CPU stays float32, and with it every promise about bits. There is no
    loss scaling, which bfloat16 does not need: it has float32's range.
    """
    if precision == "float32" or inputs.device.type != "cuda":
        found: Mapping[str, Tensor] = network(inputs)
        return found
    with torch.autocast("cuda", torch.bfloat16):
        found = network(inputs)
    return {name: values.float() for name, values in found.items()}
