"""RMIA, a membership attack with reference networks: Zarifzadeh, Liu and Shokri 2024, "Low-Cost High-Power
Membership Inference Attacks" (ICML 2024, arXiv 2312.03262).

An instance that a network answers well may have been learned, or may just be easy. References, trained by
the same recipe on other data, tell how easy it is. The attack asks how much likelier the attacked network θ
makes an instance than networks do on the average, and compares this with the same of instances z that nobody
learned:

    LR(x, z) = (Pr(x|θ) / Pr(x)) / (Pr(z|θ) / Pr(z))         score(x) = Pr_z [ LR(x, z) ≥ γ ]

Pr(x) is the mean over networks that learned x and such that did not. Online, both are at hand. Offline none
of the references learned x, and Pr(x) ≈ ((1 + a) Pr_out(x) + (1 − a)) / 2, with a chosen on the references,
as the authors do.

The score is a step function of the ratio Pr(x|θ) / Pr(x) that never falls, so both rank instances alike;
areas under curves are taken of the ratio, which has no ties.
"""

import torch
from torch import Tensor

from worker.engine.contract import TaskSpec
from worker.engine.evaluation.membership import area_under_curve

CANDIDATES = tuple(step / 10 for step in range(11))
_LOGARITHMIC = ("classification", "segmentation")
_TINY = 1e-12


def loss_scale(spec: TaskSpec, unseen: Tensor) -> float:
    """What a loss is divided by to be a negative log-likelihood: 1 where it is one. Otherwise errors are
    taken as normal, with the variance that they have on instances that nobody learned, whose losses `unseen`
    holds."""
    if spec.kind in _LOGARITHMIC:
        return 1.0
    return max(2 * float(unseen.double().mean()), _TINY)


def likelihoods(losses: Tensor, scale: float) -> Tensor:
    """Pr(x|θ) in 0..1, 1 where the loss is 0; of a density its share of the highest."""
    return (-losses.double() / scale).exp()


def average_likelihood(outside: Tensor, a: float, inside: Tensor | None = None) -> Tensor:
    """Pr(x) (n,), from the mean likelihoods of networks that did not learn x and, online, that did."""
    if inside is not None:
        return (outside + inside) / 2
    return ((1 + a) * outside + (1 - a)) / 2


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """values, mask (K, n) → (n,) means over the networks of the mask; NaN where it has none."""
    return torch.where(mask, values, torch.zeros_like(values)).sum(dim=0) / mask.sum(dim=0)


def likelihood_ratios(attacked: Tensor, average: Tensor) -> Tensor:
    """log (Pr(x|θ) / Pr(x)), (n,): high for what was learned."""
    return attacked.clamp(min=_TINY).log() - average.clamp(min=_TINY).log()


def rmia_scores(ratios: Tensor, population: Tensor, gamma: float = 1.0) -> Tensor:
    """The paper's score (n,) in 0..1 from log ratios of instances (n,) and of the population z (m,)."""
    ordered = (population.double() + torch.tensor(gamma, dtype=torch.float64).log()).sort().values
    below = torch.searchsorted(ordered, ratios.double().contiguous(), side="right")
    return below.double() / len(ordered)


def choose_a(references: Tensor, learned: Tensor) -> float:
    """The offline constant a that serves best where the truth is known: each reference is attacked with the
    help of the others. references (K, n) likelihoods, learned (K, n) bool. K ≥ 2; the least a on a tie."""
    return max(CANDIDATES, key=lambda a: _skill(references, learned, a))


def _skill(references: Tensor, learned: Tensor, a: float) -> float:
    """Mean AUC over the references, each attacked with the others' answers to what those did not learn."""
    areas = []
    for number in range(len(references)):
        others = torch.arange(len(references)) != number
        outside = mean_over(references[others], ~learned[others])
        known = ~outside.isnan()
        ratios = likelihood_ratios(references[number], average_likelihood(outside, a))
        mine = learned[number]
        if bool((mine & known).any()) and bool((~mine & known).any()):
            areas.append(area_under_curve(-ratios[mine & known], -ratios[~mine & known]))
    return sum(areas) / len(areas) if areas else 0.5
