"""How soon is it known again? Relearning of the version, rounded or not, beside retrained networks.

That a network is quick is not yet memory: it may learn anything quickly. So each also learns as much data
that nobody ever learned, to the same level, and what it saves on the forgotten beside that is compared.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from worker.audit.answers import Parts
from worker.audit.subject import Effort, Subject
from worker.engine.contract import Data, Silent
from worker.engine.evaluation.relearning import MARGIN, MOST_VISITS, Relearned, relearn
from worker.engine.measurement import measure
from worker.engine.progress import Progress
from worker.engine.randomness import derive_seed
from worker.engine.supervision import Task

Tell = Callable[[float], None]


@dataclass(frozen=True)
class _Lesson:
    """Supervision (N, T) of some data, to be learned until the levels, in points."""

    data: Data
    mask: Tensor


def attack_by_relearning(
    subject: Subject,
    tasks: tuple[Task, ...],
    parts: Parts,
    networks: Mapping[str, nn.Module],
    retrained: Sequence[nn.Module],
    effort: Effort,
    device: torch.device,
    tell: Tell,
) -> dict[str, Any]:
    """Per attacked task: instance passes until each network is at the level, mean over `effort.orders`
    shuffles; None where one never got there. The level is the original's on the forgotten supervision;
    without it, this version's on what it retains."""
    lessons = _lessons(subject, parts)
    levels = _levels(subject, tasks, parts, lessons[0], device)
    named = dict(networks) | {f"retrained-{number + 1}": made for number, made in enumerate(retrained)}
    tried: dict[str, list[list[tuple[Relearned, ...]]]] = {name: [[], []] for name in named}
    done, all_of_them = 0, len(named) * len(lessons) * effort.orders
    for name, network in named.items():
        for number, lesson in enumerate(lessons):
            for order in range(effort.orders):
                seed = derive_seed(effort.seed, "relearning", order)
                tried[name][number].append(
                    relearn(
                        network,
                        tasks,
                        lesson.data,
                        lesson.mask,
                        levels,
                        subject.recipe,
                        seed=seed,
                        device=device,
                        progress=Progress(Silent(), 1),
                    )
                )
                done += 1
                tell(done / all_of_them)
    return {
        tasks[column].name: _figures(
            {name: _Tried.of(two[0], two[1], column) for name, two in tried.items()}, list(networks)
        )
        | {
            "level": round(levels[column], 4),
            "level_of": "version's retained data" if subject.original is None else "original",
            "margin": MARGIN,
            "most_visits": MOST_VISITS,
            "instances": int(lessons[0].mask.any(dim=1).sum()),
        }
        for column in subject.attacked
    }


def _lessons(subject: Subject, parts: Parts) -> tuple[_Lesson, _Lesson]:
    """What was forgotten, and as many instances that nobody has learned; the attacked tasks of both."""
    count = min(len(parts.forgotten), len(parts.unseen))
    attacked = torch.tensor([c in subject.attacked for c in range(len(subject.tasks))])

    def some(mask: Tensor, rows: Tensor) -> Tensor:
        spread = torch.linspace(0, len(rows) - 1, count).round().to(torch.int64)
        chosen = torch.zeros_like(mask)
        chosen[rows[spread]] = mask[rows[spread]] & attacked
        return chosen

    return (
        _Lesson(subject.train, some(subject.forgotten, parts.forgotten)),
        _Lesson(subject.audit, some(subject.audit.present, parts.unseen)),
    )


def _levels(
    subject: Subject, tasks: tuple[Task, ...], parts: Parts, forgotten: _Lesson, device: torch.device
) -> list[float]:
    network = subject.version if subject.original is None else subject.original
    mask = subject.retained if subject.original is None else forgotten.mask
    rows = parts.retained if subject.original is None else mask.any(dim=1).nonzero().flatten()
    found = measure(
        copy.deepcopy(network).to(device),
        tasks,
        subject.train,
        rows,
        device=device,
        progress=Progress(Silent(), 1),
        note="asking",
    )
    return [found.points(column, mask[rows, column]) for column in range(len(tasks))]


@dataclass(frozen=True)
class _Tried:
    """Mean passes over the forgotten and the never learned; None where the level was not always reached."""

    start: float
    passes: float | None
    unseen: float | None

    @staticmethod
    def of(
        forgotten: Sequence[tuple[Relearned, ...]], unseen: Sequence[tuple[Relearned, ...]], column: int
    ) -> "_Tried":
        return _Tried(
            round(mean(one[column].start for one in forgotten), 4),
            _mean_passes([one[column] for one in forgotten]),
            _mean_passes([one[column] for one in unseen]),
        )

    @property
    def saved(self) -> float | None:
        """Share of the passes over data never learned that was not needed for the forgotten."""
        if self.passes is None or not self.unseen:
            return None
        return 1 - self.passes / self.unseen


def _figures(tried: Mapping[str, _Tried], judged: Sequence[str]) -> dict[str, Any]:
    floor = [one for name, one in tried.items() if name not in judged]
    passes, saved = _Spread.of([one.passes for one in floor]), _Spread.of([one.saved for one in floor])
    found: dict[str, Any] = {
        "retrained": {
            "passes": passes.average,
            "standard_deviation": passes.deviation,
            "unseen": _Spread.of([one.unseen for one in floor]).average,
            "saved": saved.average,
            "saved_standard_deviation": saved.deviation,
            "each": [one.passes for one in floor],
        }
    }
    for name in judged:
        one = tried[name]
        found[name] = {
            "start": one.start,
            "passes": one.passes,
            "unseen": one.unseen,
            "saved": None if one.saved is None else round(one.saved, 4),
            "ratio": round(one.passes / passes.average, 4)
            if one.passes is not None and passes.average
            else None,
            "sooner": passes.is_below(one.passes),
            "seen": saved.is_above(one.saved),
        }
    return found


@dataclass(frozen=True)
class _Spread:
    """Over the retrained networks; None where one of them has no value."""

    average: float | None
    deviation: float | None
    count: int

    @staticmethod
    def of(values: Sequence[float | None]) -> "_Spread":
        known = [value for value in values if value is not None]
        if len(known) < max(2, len(values)):
            return _Spread(None, None, len(values))
        return _Spread(round(mean(known), 4), round(stdev(known), 4), len(values))

    def is_below(self, value: float | None) -> bool | None:
        """By more than twice the spread that one more retrained network would have; None: cannot be told."""
        if self.average is None or self.deviation is None or value is None:
            return None
        return value < self.average - 2 * self.deviation * sqrt(1 + 1 / self.count)

    def is_above(self, value: float | None) -> bool | None:
        if self.average is None or self.deviation is None or value is None:
            return None
        return value > self.average + 2 * self.deviation * sqrt(1 + 1 / self.count)


def _mean_passes(found: Sequence[Relearned]) -> float | None:
    passes = [one.instances for one in found if one.instances is not None]
    return round(mean(passes), 2) if len(passes) == len(found) else None
