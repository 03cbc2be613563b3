"""What a network says to the instances that attacks compare, as losses."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.audit.subject import Subject
from worker.engine.contract import Data, Silent
from worker.engine.measurement import measure
from worker.engine.progress import Progress
from worker.engine.randomness import derived_generator
from worker.engine.supervision import Task, bind_tasks

MOST = 2000  # of each part, so that the cost does not grow with the data


@dataclass(frozen=True)
class Parts:
    """Rows (n,), sorted: of the training data what was forgotten and some of what is retained; of the audit
    half of the holdout those never seen, and of the other half a population to compare with."""

    forgotten: Tensor
    retained: Tensor
    unseen: Tensor
    population: Tensor

    @staticmethod
    def of(subject: Subject, seed: int) -> "Parts":
        def some(rows: Tensor, name: str) -> Tensor:
            order = torch.randperm(len(rows), generator=derived_generator(seed, "part", name))
            return rows[order[:MOST]].sort().values

        gone = subject.forgotten.any(dim=1)
        kept = subject.retained.any(dim=1) & ~gone
        return Parts(
            some(gone.nonzero().flatten(), "forgotten"),
            some(kept.nonzero().flatten(), "retained"),
            some(torch.arange(len(subject.audit)), "unseen"),
            some(torch.arange(len(subject.calibration)), "population"),
        )


@dataclass(frozen=True)
class Answers:
    """Losses (n, T) of one network on each of the parts."""

    forgotten: Tensor
    retained: Tensor
    unseen: Tensor
    population: Tensor


class Asking:
    """Asks one network after another about the same parts."""

    def __init__(self, subject: Subject, parts: Parts, device: torch.device) -> None:
        self.parts = parts
        self.tasks: tuple[Task, ...] = bind_tasks(subject.tasks, subject.train, {}, device)
        self._subject = subject
        self._device = device

    def ask(self, network: nn.Module) -> Answers:
        moved = copy.deepcopy(network).to(self._device)
        quiet = Progress(Silent(), 1)

        def losses(data: Data, rows: Tensor) -> Tensor:
            return measure(
                moved, self.tasks, data, rows, device=self._device, progress=quiet, note="asking"
            ).losses

        subject, parts = self._subject, self.parts
        return Answers(
            losses(subject.train, parts.forgotten),
            losses(subject.train, parts.retained),
            losses(subject.audit, parts.unseen),
            losses(subject.calibration, parts.population),
        )
