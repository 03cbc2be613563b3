"""The trust region: how much worse on retained supervision a network may get while it forgets."""

from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Literal

Verdict = Literal["inside", "snapshot", "restore"]
Guards = Literal["when_needed", "always", "never"]

SMOOTHING = 0.9
MARGIN = 0.5
SAFE = 0.8
STEPS_AFTER_RESTORING = 3


@dataclass(frozen=True)
class TrustRegion:
    """The retain loss of the original, the bound, and what was seen so far.

    bound = L_R(O) + ½ (L_V(O) − L_R(O)): half-way from the retained to the held-out loss of the original.
    """

    retain_loss: float
    holdout_loss: float
    smoothed: float = field(default=float("nan"))
    kept: float = field(default=float("nan"))
    since_restoring: int = 1000
    violations: int = 0
    guards: Guards = "when_needed"

    @property
    def bound(self) -> float:
        # A network that did not memorise has no such gap: then a tenth of its own loss is the room it has.
        gap = max(self.holdout_loss - self.retain_loss, 0.1 * abs(self.retain_loss), 1e-3)
        return self.retain_loss + MARGIN * gap

    @property
    def guarded(self) -> bool:
        """Both guards are engaged, as needed from the first violation on."""
        return self.guards == "always" or (self.guards == "when_needed" and self.violations > 0)

    @property
    def rate(self) -> float:
        """Factor on the learning rate: halved at the second violation and at each later one."""
        return 0.5 ** max(0, self.violations - 1)

    @property
    def inside(self) -> bool:
        return not self.smoothed > self.bound

    def observe(self, losses: list[float]) -> tuple["TrustRegion", Verdict]:
        """Retain losses of the steps since the last look → the new state, and what to do with the network.

        "snapshot": keep a copy of it. "restore": put the last copy back; the smoothed loss goes back too.
        """
        smoothed = self.smoothed if isfinite(self.smoothed) else self.retain_loss
        for loss in losses:
            smoothed = SMOOTHING * smoothed + (1 - SMOOTHING) * loss
        seen = replace(self, smoothed=smoothed, since_restoring=self.since_restoring + len(losses))
        if smoothed > self.bound:
            kept = self.kept if isfinite(self.kept) else self.retain_loss
            back = replace(seen, smoothed=kept, since_restoring=0, violations=self.violations + 1)
            return back, "restore"
        if smoothed < SAFE * self.bound and seen.since_restoring >= STEPS_AFTER_RESTORING:
            return replace(seen, kept=smoothed), "snapshot"
        return seen, "inside"
