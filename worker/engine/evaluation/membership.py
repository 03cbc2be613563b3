"""Membership inference by loss: can one tell forgotten instances from those never seen?"""

from math import ceil, sqrt
from typing import TypedDict

import torch
from torch import Tensor


class Membership(TypedDict):
    """auc: P(member's loss < non-member's), ½ is best; both sides leak. standard_error: of the AUC.

    tpr_at_1_fpr: share of members caught when at most 1 % of non-members are, by low loss or by high loss,
    whichever catches more; None for fewer than 100 non-members, where 1 % cannot be told.
    """

    auc: float
    standard_error: float
    members: int
    non_members: int
    tpr_at_1_fpr: float | None


def membership(members: Tensor, non_members: Tensor) -> Membership | None:
    """Per-instance losses (n,), (m,) of one task. None if either is empty."""
    n, m = len(members), len(non_members)
    if n == 0 or m == 0:
        return None
    auc = area_under_curve(members, non_members)
    return {
        "auc": round(auc, 6),
        "standard_error": round(standard_error(auc, n, m), 6),
        "members": n,
        "non_members": m,
        "tpr_at_1_fpr": round(true_positives(members, non_members, 0.01), 6) if m >= 100 else None,
    }


def area_under_curve(members: Tensor, non_members: Tensor) -> float:
    """P(member < non-member) + ½ P(equal): the Mann-Whitney statistic, in O((n + m) log m)."""
    ordered = non_members.double().sort().values
    values = members.double().contiguous()
    up_to = torch.searchsorted(ordered, values, side="right").double()
    below = torch.searchsorted(ordered, values, side="left").double()
    return float((len(ordered) - (up_to + below) / 2).mean() / len(ordered))


def standard_error(auc: float, members: int, non_members: int) -> float:
    """Hanley & McNeil 1982 (Radiology 143), equation 1."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (members - 1) * (q1 - auc**2) + (non_members - 1) * (q2 - auc**2)
    return sqrt(max(0.0, variance) / (members * non_members))


def true_positives(members: Tensor, non_members: Tensor, false_positives: float) -> float:
    """The larger of both one-sided true positive rates at this rate of false positives."""
    allowed = ceil(false_positives * len(non_members) + 1) - 1
    ordered = non_members.sort().values
    low = (members < ordered[allowed]).double().mean()
    high = (members > ordered[-1 - allowed]).double().mean()
    return float(torch.maximum(low, high))
