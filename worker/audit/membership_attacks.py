"""Who was learned from? Three attacks on each network, and how far each is from what retraining leaves.

`loss`: is the loss lower than on data never seen? `rmia`: is it lower for how hard the instance is, as
networks tell that never saw it? `unusual`: is it, for how hard the instance is, further than usual from what
such networks say, to either side? What was pushed down and what was missed would cancel out in the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, mean, stdev
from typing import Any

import torch
from torch import Tensor

from worker.audit.answers import Answers, Parts
from worker.audit.subject import Subject
from worker.engine.evaluation.bootstrap import (
    areas_under_curves,
    interval,
    resampled,
    true_positive_rates,
)
from worker.engine.evaluation.intervals import Z
from worker.engine.evaluation.membership import membership, standard_error
from worker.engine.evaluation.rmia import (
    average_likelihood,
    choose_a,
    likelihood_ratios,
    likelihoods,
    loss_scale,
)

ATTACKS = ("loss", "rmia", "unusual")
MEASURES = ("auc", "tpr_at_1_fpr")


@dataclass(frozen=True)
class Reference:
    """What a reference says, and which of the parts' `retained` instances it had learned (n,)."""

    answers: Answers
    learned: Tensor


def attack_task(
    subject: Subject,
    parts: Parts,
    column: int,
    networks: Mapping[str, Answers],
    retrained: Sequence[Answers],
    references: Sequence[Reference],
    seed: int,
) -> dict[str, Any]:
    """The figures of one task. `networks`: those to be judged, by name. `seen`: further from what is found
    on retrained networks than chance explains, allowing it one look in twenty over all tasks, attacks
    and measures (Bonferroni).
    """
    critical = NormalDist().inv_cdf(1 - 0.05 / (2 * len(ATTACKS) * len(MEASURES) * len(subject.attacked)))
    lens = _Lens.through(subject, parts, column, references)
    members, others = lens.members, lens.others
    floor = [lens.scores(answers) for answers in retrained]
    found: dict[str, Any] = {
        "kind": subject.tasks[column].kind,
        "forgotten": int(members.sum()),
        "held_out": int(others.sum()),
        "rmia_a": lens.a,
        "critical": round(critical, 4),
        "smallest_visible": round(Z * standard_error(0.5, int(members.sum()), int(others.sum())), 4),
        "attacks": {},
    }
    judged = {name: lens.scores(answers) for name, answers in networks.items()}
    for attack in ATTACKS:
        floor_figures = [_Figures.of(scores[attack], seed) for scores in floor]
        entry: dict[str, Any] = {"retrained": {"each": [figures.found for figures in floor_figures]}}
        for measure in MEASURES:
            entry["retrained"] |= _middle(floor_figures, measure)
        for name, scores in judged.items():
            figures = _Figures.of(scores[attack], seed)
            beyond = {measure: _beyond(figures, floor_figures, measure, critical) for measure in MEASURES}
            entry[name] = figures.found | {
                "beyond_retraining": beyond,
                "seen": any(one is not None and one["seen"] for one in beyond.values()),
            }
        found["attacks"][attack] = entry
    return found


Scores = Mapping[str, tuple[Tensor, Tensor]]  # attack → of the forgotten, of the unseen; low means learned


@dataclass(frozen=True)
class _Lens:
    """How hard each instance is, by the references; through it every network is looked at alike. members,
    others, population: (n,) masks over the parts, of what has supervision for this task."""

    column: int
    scale: float
    a: float
    members: Tensor
    others: Tensor
    population: Tensor
    average: Mapping[str, Tensor]  # Pr(x) per part

    @staticmethod
    def through(subject: Subject, parts: Parts, column: int, references: Sequence[Reference]) -> "_Lens":
        stacked = {
            name: torch.stack([getattr(reference.answers, name)[:, column] for reference in references])
            for name in ("forgotten", "retained", "unseen", "population")
        }
        population = subject.calibration.present[parts.population, column]
        scale = loss_scale(subject.tasks[column], stacked["population"][:, population])
        given = {name: likelihoods(losses, scale) for name, losses in stacked.items()}
        kept = subject.retained[parts.retained, column]
        learned = torch.stack([reference.learned for reference in references])
        a = choose_a(given["retained"][:, kept], learned[:, kept])
        outside = {name: given[name].mean(dim=0) for name in ("forgotten", "unseen", "population")}
        return _Lens(
            column=column,
            scale=scale,
            a=a,
            members=subject.forgotten[parts.forgotten, column],
            others=subject.audit.present[parts.unseen, column],
            population=population,
            average={name: average_likelihood(values, a) for name, values in outside.items()},
        )

    def scores(self, answers: Answers) -> Scores:
        mine = answers.forgotten[self.members, self.column]
        theirs = answers.unseen[self.others, self.column]
        usual = float(self._ratios(answers.population, "population")[self.population].median())
        ratios = self._ratios(answers.forgotten, "forgotten")[self.members]
        other_ratios = self._ratios(answers.unseen, "unseen")[self.others]
        return {
            "loss": (mine, theirs),
            "rmia": (-ratios, -other_ratios),
            "unusual": (-(ratios - usual).abs(), -(other_ratios - usual).abs()),
        }

    def _ratios(self, losses: Tensor, part: str) -> Tensor:
        return likelihood_ratios(likelihoods(losses[:, self.column], self.scale), self.average[part])


@dataclass(frozen=True)
class _Figures:
    """One attack on one network, and its bootstrap's draws (R,) of each of `MEASURES`."""

    found: dict[str, Any]
    draws: Mapping[str, Tensor]

    @staticmethod
    def of(scores: tuple[Tensor, Tensor], seed: int) -> "_Figures":
        found: dict[str, Any] = dict(membership(*scores) or {})
        samples = resampled(*scores, seed=seed)
        draws = {"auc": areas_under_curves(*samples)}
        if found["tpr_at_1_fpr"] is not None:
            draws["tpr_at_1_fpr"] = true_positive_rates(*samples, 0.01)
        return _Figures(found | {f"{name}_interval": interval(drawn) for name, drawn in draws.items()}, draws)


def _middle(floor: Sequence[_Figures], measure: str) -> dict[str, float]:
    """Of the retrained networks; nothing where it could not be measured."""
    if measure not in floor[0].draws:
        return {}
    values = [figures.found[measure] for figures in floor]
    return {measure: round(mean(values), 6), f"{measure}_standard_deviation": round(stdev(values), 6)}


def _beyond(one: _Figures, floor: Sequence[_Figures], measure: str, critical: float) -> dict[str, Any] | None:
    """The difference from the mean of the retrained networks. Its error is that of the same instances drawn
    for both, and that of one more retrained network beside the mean of these."""
    if measure not in one.draws:
        return None
    values = [figures.found[measure] for figures in floor]
    drawn = one.draws[measure] - torch.stack([figures.draws[measure] for figures in floor]).mean(dim=0)
    error = sqrt(float(drawn.var()) + stdev(values) ** 2 * (1 + 1 / len(values)))
    difference = one.found[measure] - mean(values)
    return {
        "difference": round(difference, 6),
        "standard_error": round(error, 6),
        "seen": abs(difference) > critical * error,
    }
