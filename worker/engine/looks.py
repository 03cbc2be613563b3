"""When a run looks at what it has done so far: at the holdout, and at what is forgotten."""

from dataclasses import dataclass
from math import ceil

CHECKS = 20
# Not earlier: what is retained settles while the rate decays to 0, after the goals are reached.
EARLIEST_STOP = 0.9
FOLLOWED_AT = (0.3, 0.5, 0.7, 0.9)
"""Shares of a run after which held-out losses are looked at again: targets follow them."""


@dataclass(frozen=True)
class Looks:
    """Of a run of `steps`. Each depends on the number of steps done alone, so that a run which is taken up
    again looks where the whole one would have."""

    steps: int

    def follows(self, done: int) -> bool:
        """Whether targets follow the holdout after `done` steps: never after the last."""
        return done < self.steps and done in {ceil(self.steps * share) for share in FOLLOWED_AT}

    def checks(self, done: int) -> bool:
        """Whether the run may end after `done` steps."""
        return EARLIEST_STOP * self.steps <= done < self.steps and done % max(1, self.steps // CHECKS) == 0

    def follows_until(self, done: int) -> int:
        """How often targets have followed by then."""
        return sum(self.follows(step) for step in range(1, done + 1))

    def checks_until(self, done: int) -> int:
        return sum(self.checks(step) for step in range(1, done + 1))
