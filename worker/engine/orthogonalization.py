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
    return orthogonalize_in_place(forget.clone(), retain, torch.empty_like(retain))


def orthogonalize_in_place(forget: Tensor, retain: Tensor, scratch: Tensor) -> Tensor:
    """The same, into `forget`, without room of its own. scratch: (P,), whatever is in it is lost."""
    tiny = torch.finfo(retain.dtype).tiny
    least, most = retain.aminmax()
    direction = torch.div(retain, torch.maximum(-least, most).clamp(min=tiny), out=scratch)
    direction /= direction.norm().clamp(min=tiny)
    direction *= (forget @ direction).clamp(max=0)
    forget -= direction
    return forget
