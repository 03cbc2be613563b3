"""What the dense task kinds share: one answer per pixel, and means over the pixels that have supervision.

B is the batch, C the channels, H x W the grid.
"""

from typing import Any

import numpy as np
from torch import Tensor

from worker.engine.contract import Refused, TaskSpec

Array = np.ndarray[Any, Any]


def mean_over_pixels(values: Tensor, valid: Tensor) -> Tensor:
    """(B, H, W), (B, H, W) bool → (B,) means over valid pixels; 0 for an instance without any."""
    kept = values.masked_fill(~valid, 0.0)
    return kept.sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1)


def check_grid(outputs: Tensor, channels: int, targets: Tensor) -> None:
    """outputs must be (B, channels, H, W) on the grid of the targets (B, …, H, W).

    Raises `Refused("network_output_mismatch")`: broadcasting would hide a network that answers otherwise.
    """
    expected = (targets.shape[0], channels, *targets.shape[-2:])
    if tuple(outputs.shape) != expected:
        raise Refused(
            "network_output_mismatch",
            f"The network gives outputs of shape {tuple(outputs.shape)} where targets of shape "
            f"{tuple(targets.shape)} need {expected}: one answer per pixel, at the size of the input.",
        )


def channels_first(array: Array, channels: int, spec: TaskSpec) -> Array:
    """(N, H, W, channels), (N, channels, H, W) or, for one channel, (N, H, W) → (N, channels, H, W).

    Where both readings are possible, channels come first, as in torch.
    Raises `Refused("data_target_invalid")`.
    """
    if spec.outputs != channels:
        raise _invalid(spec, f"has {channels} outputs, not {spec.outputs}")
    if array.dtype.kind not in "fiu":
        raise _invalid(spec, f"must hold real numbers, not {array.dtype}")
    if channels == 1 and array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] == channels:
        return array
    if array.ndim == 4 and array.shape[3] == channels:
        return np.moveaxis(array, 3, 1)
    raise _invalid(
        spec,
        f"must be of shape (N, H, W, {channels}) or (N, {channels}, H, W)"
        f"{' or (N, H, W)' if channels == 1 else ''}, not {array.shape}",
    )


def check_finite(array: Array, spec: TaskSpec) -> None:
    """Raises `Refused("data_not_finite")`, naming the first instance with a NaN or an infinite value."""
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        raise Refused(
            "data_not_finite",
            f"Target {spec.name!r} holds NaN or infinite numbers (or numbers too large for 32 bits) in "
            f"{int((~finite).sum())} instances, the first at position {int(np.argmin(finite))}.",
        )


def _invalid(spec: TaskSpec, what: str) -> Refused:
    return Refused("data_target_invalid", f"Target {spec.name!r} is of kind {spec.kind!r}: it {what}.")
