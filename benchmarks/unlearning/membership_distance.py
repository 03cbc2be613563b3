"""How far a network's membership AUC is from retraining's, with the standard error of the difference.

Both AUCs are over the same instances, so their errors cancel in part: DeLong, DeLong & Clarke-Pearson 1988,
Biometrics 44. n members (forgotten), m non-members (held out).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor


@dataclass(frozen=True)
class Distance:
    """auc, reference: P(member's loss < non-member's) of the network, and of retraining (a mean)."""

    auc: float
    reference: float
    standard_error: float

    @property
    def absolute(self) -> float:
        return abs(self.auc - self.reference)


def membership_distance(
    members: Tensor,
    non_members: Tensor,
    reference_members: Sequence[Tensor],
    reference_non_members: Sequence[Tensor],
) -> Distance:
    """Losses (n,), (m,) of the network, and of each reference on the same instances in the same order."""
    of_members, of_non_members = placements(members, non_members)
    pairs = [
        placements(left, right) for left, right in zip(reference_members, reference_non_members, strict=True)
    ]
    mean_members = torch.stack([left for left, _ in pairs]).mean(dim=0)
    mean_non_members = torch.stack([right for _, right in pairs]).mean(dim=0)
    variance = _variance(of_members - mean_members) + _variance(of_non_members - mean_non_members)
    return Distance(float(of_members.mean()), float(mean_members.mean()), sqrt(variance))


def placements(members: Tensor, non_members: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) share of non-members above each member, (m,) share of members below each non-member; ties half.
    The mean of either is the AUC."""
    return 1 - _share_below(members, non_members), _share_below(non_members, members)


def _share_below(values: Tensor, others: Tensor) -> Tensor:
    ordered = others.double().sort().values
    points = values.double().contiguous()
    low = torch.searchsorted(ordered, points, side="left")
    high = torch.searchsorted(ordered, points, side="right")
    return (low + high).double() / (2 * len(ordered))


def _variance(differences: Tensor) -> float:
    """Of their mean."""
    if len(differences) < 2:
        return 0.25
    return float(differences.var()) / len(differences)
