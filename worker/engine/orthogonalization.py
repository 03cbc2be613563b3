"""Instance-level gradient orthogonalization: forgetting loses what conflicts with retaining.

After PCGrad (Yu et al. 2020, arXiv 2001.06782, algorithm 1) and the instance level of arXiv 2605.19042.
"""

from torch import Tensor


def orthogonalize(forget: Tensor, retain: Tensor) -> Tensor:
    """g_f − min(0, ⟨g_f, g_r⟩) / ‖g_r‖² · g_r, for flat gradients (P,) of two losses to be lowered.

    Where the two agree, g_f is returned as it is. Otherwise the result is orthogonal to g_r: stepping
    against it does not raise the retain loss to first order. Works without leaving the device.
    """
    conflict = (forget @ retain).clamp(max=0)
    square = (retain @ retain).clamp(min=_tiny(retain))
    return forget - (conflict / square) * retain


def _tiny(values: Tensor) -> float:
    return 1e-30 if values.dtype.itemsize >= 4 else 1e-12
