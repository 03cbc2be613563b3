"""Random labels: go on training with the forgotten targets replaced by random ones.

Graves et al., "Amnesiac Machine Learning", AAAI 2021 (arXiv 2010.10981), algorithm 1, and Golatkar et al.,
CVPR 2020 (arXiv 1911.04933). As the random labelling of SalUn (arXiv 2310.12508): ten epochs over forget
and retain set together, labels drawn anew in each.

Several tasks: only the named supervision gets random targets; the un-named tasks of the same instances
keep theirs. All heads move, as they do in training. Regression and dense targets: see `random_targets`.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import backward
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.random_targets import RandomTargets
from worker.engine.baselines.run import Run, Sample
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem


@dataclass(frozen=True)
class RandomLabelSettings:
    pace: Pace = field(default_factory=lambda: Pace(epochs=10, rate=0.3))


@dataclass(frozen=True)
class RandomLabel:
    """Minimise the loss on random targets and retained ones. The budget's scale multiplies the epochs."""

    name: str = "random_label"
    guarantee: Guarantee = "empirical"
    settings: RandomLabelSettings = field(default_factory=RandomLabelSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        run.expect(relabelling_passes(run, self.settings.pace))
        relabel(run, self.settings.pace)
        return run.outcome()


def relabelling_passes(run: Run, pace: Pace) -> int:
    """Instance passes that `relabel` will take."""
    recipe, pool = run.problem.recipe, int((run.retained | run.forgotten).any(dim=1).sum())
    return pace.steps(recipe, pool, run.budget.scale) * pace.batch(recipe, pool)


def relabel(run: Run, pace: Pace, masks: list[Tensor] | None = None) -> None:
    """Train on everything in force or to be forgotten, the latter with random targets.

    masks: per parameter, True where it may move; everything else stays bit-identical.
    """
    recipe = run.problem.recipe
    rows = (run.retained | run.forgotten).any(dim=1).nonzero().flatten()
    batch, steps = pace.batch(recipe, len(rows)), pace.steps(recipe, len(rows), run.budget.scale)
    stream = run.stream(rows, batch, "relabelled")
    targets = RandomTargets(run)
    parameters = list(run.network.parameters())
    start = [parameter.detach().clone() for parameter in parameters] if masks is not None else []

    def gradients(step: int) -> Tensor:
        sample = targets.replace(run.sample(stream.batch(step)), step // stream.batches_per_pass)
        return backward(relabelled_loss(run, sample))

    def settle() -> None:
        # Gradients alone would not do: momentum and its like may move what has no gradient.
        with torch.no_grad():
            for parameter, before, mask in zip(parameters, start, masks or [], strict=True):
                parameter.copy_(torch.where(mask, parameter, before))

    walk = run.walk(pace, steps, len(rows))
    walk.take(steps, gradients, "relabelling", settle if masks is not None else None)


def relabelled_loss(run: Run, sample: Sample) -> Tensor:
    """Over retained and forgotten supervision together, whatever targets the sample has."""
    return run.mean(run.losses(sample), sample.retained | sample.forgotten)
