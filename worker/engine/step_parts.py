"""A step's instances, in parts that fit where they are computed, and what all parts together count.

f is the number of forget instances of a part, r of retained ones, T of tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from torch import Tensor

from worker.engine.room import in_parts


@dataclass(frozen=True)
class StepPart:
    """positions: (f,) in `ForgetPlan.rows`. kept: (r,) training rows. Either may be empty."""

    positions: Tensor
    kept: Tensor


@dataclass(frozen=True)
class StepCounts:
    """What the means of a step are over, whatever parts it is computed in.

    forget: forget instances. retained, observed: (T,) at least 1, retained supervision of all instances, and
    of the retained ones alone.
    """

    forget: int
    retained: Tensor
    observed: Tensor


def split_step(positions: Tensor, kept: Tensor, most: int, *, apart: bool) -> Sequence[StepPart]:
    """Parts of at most `most` instances: a single one if everything fits, unless forget and retained
    instances are wanted `apart`; if it does not fit, they are apart anyway."""
    if not apart and len(positions) + len(kept) <= most:
        return [StepPart(positions, kept)]
    forget = [StepPart(some, kept[:0]) for some in in_parts(positions, most)]
    return [*forget, *(StepPart(positions[:0], some) for some in in_parts(kept, most))]


def with_places(parts: Sequence[StepPart]) -> Sequence[tuple[StepPart, slice]]:
    """Each with where its instances are among all of the step."""
    ends = accumulate((len(part.positions) + len(part.kept) for part in parts), initial=0)
    return [(part, slice(*place)) for part, place in zip(parts, pairwise(ends), strict=True)]


def count_step(retained: Tensor, forget: int) -> StepCounts:
    """retained: (f + r, T) bool on the device, of the forget instances and then of the retained ones."""
    whole, kept = retained.sum(dim=0).clamp(min=1), retained[forget:].sum(dim=0).clamp(min=1)
    return StepCounts(forget, whole, kept)
