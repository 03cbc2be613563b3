"""What a run never rehearses: held by weights that stay near those it started from."""

import torch
from torch import Tensor, nn

PULL = 3.0
REHEARSED = 4
MOST = 0.5


class Anchor:
    """Decay towards the original in place of decay towards 0: L2-SP (Li, Grandvalet & Davoine 2018, arXiv
    1802.01483), beside Adam's step and not in its gradient, as AdamW has weight decay (Loshchilov & Hutter
    2019, arXiv 1711.05101, algorithm 2).

    Staying like the original on fresh retained samples is asked for anyway. But a label that a network knows
    by heart hangs on weights of its own, and most of a large data set is never drawn: Adam's steps, of full
    length in every direction, lose it unnoticed.

    Where nothing pushes, a move shrinks to e^-PULL of itself within a run, if no row is drawn. The more often
    rows recur, the less: from `REHEARSED` times on nothing is pulled, because what is rehearsed looks after
    itself, and the pull holds what is to be forgotten, too. Never more than `MOST` of a move is taken back at
    once, or a run of a few steps would be none.
    """

    def __init__(self, network: nn.Module, original: nn.Module, *, steps: int, draws: int, pool: int) -> None:
        """draws: retained instances that the run draws, of `pool` different ones."""
        pairs = zip(network.parameters(), original.parameters(), strict=True)
        moving = [(parameter, start) for parameter, start in pairs if parameter.requires_grad]
        self._moving: list[Tensor] = [parameter.detach() for parameter, _ in moving]
        self._start: list[Tensor] = [start.detach() for _, start in moving]
        self._share = PULL * max(0.0, 1.0 - draws / (REHEARSED * pool)) / steps

    def pull(self, strength: float) -> None:
        """One step's. strength: its learning rate, in units of the mean over all steps."""
        if self._share > 0:
            torch._foreach_lerp_(self._moving, self._start, min(MOST, self._share * strength))
