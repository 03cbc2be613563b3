"""What happened to supervision that the request did not name: the same instances' other tasks."""

from typing import TypedDict

from torch import Tensor

from worker.engine.evaluation.intervals import Estimate, estimate
from worker.engine.measurement import Measurement


class BeforeAfter(TypedDict):
    before: Estimate | None
    after: Estimate | None


def before_and_after(
    before: Measurement, after: Measurement, column: int, mask: Tensor
) -> BeforeAfter | None:
    """One task's metric over `mask` (n,) bool, in both networks; None if the mask is empty."""
    if not bool(mask.any()):
        return None
    return {
        "before": estimate(before.scores[mask, column]),
        "after": estimate(after.scores[mask, column]),
    }
