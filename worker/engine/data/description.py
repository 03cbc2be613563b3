"""What a data set says of itself before anybody says which tasks it serves."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TargetDescription:
    """One target array: `present` (N,) bool, True where there is supervision.

    values: "integers" or "reals". shape: of one instance's target, () for a single number.
    lowest, highest: over the present ones; None when there are none.
    """

    present: Tensor
    values: str
    shape: tuple[int, ...]
    lowest: float | None
    highest: float | None


@dataclass(frozen=True)
class Description:
    """ids: unique, in row order. fingerprint: SHA-256 (hex) of the stored contents."""

    ids: list[str]
    targets: Mapping[str, TargetDescription]
    input_shape: tuple[int, ...]
    fingerprint: str

    @property
    def instances(self) -> int:
        return len(self.ids)
