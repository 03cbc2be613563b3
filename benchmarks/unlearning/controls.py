"""Controls of equal compute: training anew for as many passes as ours takes. No method of the service.

Whoever can afford an unlearning method could spend the same passes on training without the forget set. These
say what that would give: from scratch, by the recipe with fewer epochs; and from the shrunk and perturbed
original (Ash & Adams 2020, arXiv 1910.08475), which is what our probe is, trained on for all of the passes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from worker.engine.contract import Budget, Guarantee, Method, Monitor, Outcome, Problem
from worker.engine.forget_groups import plan_forgetting
from worker.engine.interference_aware import InterferenceAware
from worker.engine.parameters import keep_frozen
from worker.engine.probe import shrink_and_perturb
from worker.engine.randomness import derived_generator
from worker.engine.training import train
from worker.engine.unlearning import RETAIN_RATIO, planned_steps


@dataclass(frozen=True)
class TrainedAnew:
    """Train what `start` gives, by the recipe, on what is retained, for as many whole epochs as ours' passes
    make. The learning rate's schedule ends with them."""

    name: str
    start: Callable[[Problem, int], nn.Module]
    guarantee: Guarantee = "empirical"

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, loss_not_finite."""
        retained = problem.forget.retained(problem.train.present)
        epochs = max(1, round(passes_of_ours(problem, budget) / int(retained.any(dim=1).sum())))
        network = self.start(problem, seed)
        passes = train(
            network,
            problem.tasks,
            problem.train,
            retained,
            replace(problem.recipe, epochs=epochs),
            seed=seed,
            device=device,
            monitor=monitor,
        )
        return Outcome(network, self.guarantee, epochs, 0.0, passes, 0)


def passes_of_ours(problem: Problem, budget: Budget) -> int:
    """Forward-backward passes that our method plans: reference, probe and steps."""
    plan = plan_forgetting(problem.forget, problem.train.present, problem.tasks)
    settings = InterferenceAware().calibration
    batch = min(budget.batch_size, len(plan.rows))
    steps = planned_steps(budget.visits * budget.scale, len(plan.rows), batch)
    per_step = batch + RETAIN_RATIO * budget.batch_size
    return settings.reference_samples + settings.probe_samples + steps * per_step


def _from_scratch(problem: Problem, seed: int) -> nn.Module:
    network = problem.build(derived_generator(seed, "retrain"))
    keep_frozen(network, problem.network)
    return network


def _from_the_original(problem: Problem, seed: int) -> nn.Module:
    return shrink_and_perturb(problem.network, problem.build, seed=seed)


CONTROLS: dict[str, Method] = {
    "short_retraining": TrainedAnew("short_retraining", _from_scratch),
    "warm_retraining": TrainedAnew("warm_retraining", _from_the_original),
}
