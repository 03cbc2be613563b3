"""Targets that mean nothing: those of other instances, whatever the kind of task.

For classes this draws labels with the frequencies of the data; for regression and dense targets it gives a
value (or a whole map) that is plausible, but of something else. Donors are retained supervision only, so
that nothing forgotten is taught to anybody. By chance a class may be drawn that is the true one, as in the
uniform draw of the papers' code.
"""

import torch
from torch import Tensor

from worker.engine.baselines.run import Run, Sample
from worker.engine.contract import Batch
from worker.engine.randomness import derived_generator


class RandomTargets:
    """Replaces the forgotten targets of a batch, and those only. Targets are drawn anew in each epoch."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._donors = [run.retained[:, column].nonzero().flatten() for column in range(len(run.tasks))]
        self._position = torch.zeros(len(run.forgotten), dtype=torch.int64)
        self._position[run.forget_rows] = torch.arange(len(run.forget_rows))
        self._drawn: tuple[int, list[Tensor]] | None = None

    def replace(self, sample: Sample, epoch: int) -> Sample:
        """A sample whose forgotten targets are those that `epoch` drew; the one given is not changed."""
        targets = dict(sample.batch.targets)
        for column, task in enumerate(self._run.tasks):
            gone = self._run.forgotten[sample.rows, column]
            if not bool(gone.any()):
                continue
            donors = self._draws(epoch)[column][self._position[sample.rows[gone]]]
            given = self._run.problem.train.fetch(donors).targets[task.name]
            replaced = targets[task.name].clone()
            replaced[gone.to(replaced.device)] = given.to(replaced)
            targets[task.name] = replaced
        batch = Batch(sample.batch.inputs, targets, sample.batch.present)
        return Sample(sample.rows, batch, sample.retained, sample.forgotten)

    def _draws(self, epoch: int) -> list[Tensor]:
        """Per task (F,) rows to take targets from."""
        if self._drawn is None or self._drawn[0] != epoch:
            count = len(self._run.forget_rows)
            draws = []
            for column, donors in enumerate(self._donors):
                generator = derived_generator(self._run.seed, "random targets", epoch, column)
                draws.append(donors[torch.randint(len(donors), (count,), generator=generator)])
            self._drawn = (epoch, draws)
        return self._drawn[1]
