"""How much forgetting a task weighs beside staying as it was: more, the longer it lags behind its targets."""

from math import log

import torch
from torch import Tensor

GAIN = 24.0
BEGIN = 0.2
MOST = 8.0


class ForgetWeights:
    """A factor per task, e^λ in 1..`MOST`. λ ascends on what is missing of the mean target, as a constraint's
    multiplier does (Platt & Barr 1987, "Constrained Differential Optimization", NIPS 0: the differential
    multiplier method), here in logarithms, because a weight is positive.

    With one weight for all, a task that many others hold in place ends where both pulls are equal, short of
    its targets. Most tasks are there by `BEGIN`, a share of the run; their factors stay near 1.
    """

    def __init__(self, tasks: int, device: torch.device) -> None:
        self.logarithms = torch.zeros(tasks, device=device)

    @property
    def factors(self) -> Tensor:
        """(T,)."""
        return self.logarithms.exp()

    def ascend(self, missing: Tensor, passed: float) -> None:
        """missing (T,): in shares of held-out losses, negative beyond the target. passed: the share of the
        run that was done since the last time."""
        self.logarithms.add_(missing, alpha=GAIN * passed).clamp_(0.0, log(MOST))

    def reset(self) -> None:
        self.logarithms.zero_()
