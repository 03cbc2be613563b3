"""Instance-level gradient orthogonalization: forgetting loses what conflicts with retaining.

After PCGrad (Yu et al. 2020, arXiv 2001.06782, algorithm 1) and the instance level of arXiv 2605.19042.
"""

import torch
from torch import Tensor


def orthogonalize(forget: Tensor, retain: Tensor) -> Tensor:
    """g_f − min(0, ⟨g_f, g_r⟩) / ‖g_r‖² · g_r, for flat gradients (P,) of two losses to be lowered.

    Where the two agree, g_f is returned as it is. Otherwise the result is orthogonal to g_r: stepping
    against it does not raise the retain loss to first order. Works without leaving the device, and at any
    scale of either: the retain gradient is scaled first, so that no square vanishes or overflows.
    """
    tiny = torch.finfo(retain.dtype).tiny
    scaled = retain / retain.abs().amax().clamp(min=tiny)
    direction = scaled / scaled.norm().clamp(min=tiny)
    changed: Tensor = forget - (forget @ direction).clamp(max=0) * direction
    return changed
