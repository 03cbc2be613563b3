"""Where labels end that are kept, of instances that lose others: `Calibration.unnamed`.

The hardest instances of one task are often hard for the others as well, because the label that is to go stood
in their way: retrained without it, a network fits what is left better, or worse, than the original did. Which
way, and about how far, the probe shows: like retraining, it learned what is left, and nothing else of them.
F is the number of forget instances, r of retained ones, T of tasks.
"""

import torch
from torch import Tensor

from worker.engine.percentile import percentiles, quantiles


def unnamed_targets(
    unnamed: Tensor, own: Tensor, probe: Tensor, kept: Tensor, own_kept: Tensor, probe_kept: Tensor
) -> Tensor:
    """Losses (F, T), (r, T) of the original and of the probe → (F, T), where each label is to end.

    unnamed (F, T), kept (r, T): masks of the labels that are meant, and of those they are measured among. A
    label moves by what lies between its place among retained losses and the place that the label of the same
    rank has under the probe; no further than these places differ by more than chance. All others stay.
    """
    found = own.clone()
    for column in unnamed.any(dim=0).nonzero().flatten().tolist():
        mine, among = unnamed[:, column], kept[:, column]
        if bool(among.any()):
            found[mine, column] = _moved(
                own[mine, column], probe[mine, column], own_kept[among, column], probe_kept[among, column]
            )
    return found


def _moved(own: Tensor, probe: Tensor, own_kept: Tensor, probe_kept: Tensor) -> Tensor:
    """The same for one task: (n,) labels among (r,) retained ones."""
    before, after = percentiles(own, own_kept), percentiles(probe, probe_kept)
    by_chance = percentiles(probe_kept, probe_kept) - percentiles(own_kept, own_kept)
    ranks = before.argsort(stable=True).argsort(stable=True)
    shifts = quantiles(own_kept, after.sort().values[ranks]) - quantiles(own_kept, before)
    lowest = torch.minimum(own.min(), own_kept.min())  # no loss that nothing has
    return (own + beyond_chance(after - before, by_chance) * shifts).clamp(min=lowest)


def beyond_chance(shifts: Tensor, by_chance: Tensor) -> float:
    """(n,), (r,) → 0..1: the part of the mean shift that is not noise, 1 − SE² / shift², as the positive-part
    James–Stein estimator has it. by_chance: shifts of instances that nothing happened to."""
    shift = float(shifts.double().mean())
    error = float(by_chance.double().square().mean()) / len(shifts)
    return max(0.0, 1.0 - error / shift**2) if shift != 0 else 0.0
