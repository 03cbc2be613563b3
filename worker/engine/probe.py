"""The probe P: a network that never saw the request, trained for a moment.

Shrink and perturb (Ash & Adams 2020, arXiv 1910.08475): p ← .2 p + .8 · fresh, then retained supervision
only. It knows what a cluster that is gone looks like, which no holdout can tell.
"""

import copy
from collections.abc import Callable

import torch
from torch import nn

from worker.engine.parameters import keep_frozen
from worker.engine.randomness import derived_generator

KEPT = 0.2


def shrink_and_perturb(
    original: nn.Module, build: Callable[[torch.Generator], nn.Module], *, seed: int
) -> nn.Module:
    """A new network: parameters .2 of the original's and .8 of a fresh one's, buffers the fresh one's; what
    the original holds frozen stays as it is."""
    fresh = build(derived_generator(seed, "probe"))
    keep_frozen(fresh, original)
    probe = copy.deepcopy(original)
    with torch.no_grad():
        for parameter, new in zip(probe.parameters(), fresh.parameters(), strict=True):
            if parameter.requires_grad:
                parameter.mul_(KEPT).add_(new.to(parameter), alpha=1 - KEPT)
        for buffer, initial in zip(probe.buffers(), fresh.buffers(), strict=True):
            buffer.copy_(initial)
    return probe
