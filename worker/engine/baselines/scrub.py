"""SCRUB: a student that disobeys its teacher on the forget set, and obeys it elsewhere, in turn.

Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023 (arXiv 2302.09880), section 3 and
algorithm 1. With d(x; w) = KL(p(x; w_o) ‖ p(x; w)):

    min_w  α/|R| Σ_R d(x; w) + γ/|R| Σ_R ℓ(x; w) − 1/|F| Σ_F d(x; w)

by alternating a *max-step* (an epoch over F, ascending d) and a *min-step* (an epoch over R, descending
αd + γℓ); max-steps end after the first few epochs, min-steps go on to repair. Temperature 1, where the
authors' code has 4: a divergence belongs to its kind of task, and not all have a temperature. The
rewinding of SCRUB+R is left out. At the very start student and teacher agree, d is at its minimum and has
no gradient: the first min-step breaks the tie, and ascent begins in earnest with the second max-step.

Several tasks: d rises on the named supervision only; the un-named tasks of the same instances are in R.
All heads move in min-steps. Regression and dense targets: d is the kind's own divergence.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import backward
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run, Sample
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem
from worker.engine.supervision import instance_divergences, instance_losses

MAXIMISING = "maximising the divergence on the forget set"
MINIMISING = "minimising loss and divergence on the retain set"


@dataclass(frozen=True)
class ScrubSettings:
    """alpha and gamma as in the equation. max_epochs: how many of the pace's epochs begin with a max-step."""

    alpha: float = 0.001
    gamma: float = 0.99
    max_epochs: int = 2
    pace: Pace = field(default_factory=lambda: Pace(epochs=5, rate=1.0))


@dataclass(frozen=True)
class Scrub:
    """Alternate max- and min-steps. The budget's scale multiplies the epochs of both."""

    name: str = "scrub"
    guarantee: Guarantee = "empirical"
    settings: ScrubSettings = field(default_factory=ScrubSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        settings, pace = self.settings, self.settings.pace
        forget, retain = (
            run.stream(rows, pace.batch(problem.recipe, len(rows)), label)
            for rows, label in ((run.forget_rows, "forget"), (run.retain_rows, "retain"))
        )
        epochs = max(1, round(pace.epochs * budget.scale))
        max_epochs = min(epochs, round(settings.max_epochs * budget.scale))
        up, down = forget.batches_per_pass, retain.batches_per_pass
        run.expect(max_epochs * up * forget.batch_size + epochs * down * retain.batch_size)
        walk = run.walk(pace, max_epochs * up + epochs * down, len(run.retain_rows))

        def ascent(step: int) -> Tensor:
            sample = run.sample(forget.batch(step))
            divergence, _ = self._divergence_and_loss(run, sample)
            return backward(-run.mean(divergence, sample.forgotten))

        def descent(step: int) -> Tensor:
            sample = run.sample(retain.batch(step))
            divergence, losses = self._divergence_and_loss(run, sample)
            both = settings.alpha * divergence + settings.gamma * losses
            return backward(run.mean(both, sample.retained))

        for epoch in range(epochs):
            if epoch < max_epochs:
                walk.take(up, lambda step, epoch=epoch: ascent(epoch * up + step), MAXIMISING)  # type: ignore[misc]
            walk.take(down, lambda step, epoch=epoch: descent(epoch * down + step), MINIMISING)  # type: ignore[misc]
        return run.outcome()

    def _divergence_and_loss(self, run: Run, sample: Sample) -> tuple[Tensor, Tensor]:
        """d and ℓ, (B, T) each."""
        with torch.no_grad():
            teacher = run.original(sample.batch.inputs)
        run.forward_passes += len(sample.rows)
        said = run.network(sample.batch.inputs)
        losses = instance_losses(run.tasks, said, sample.batch)
        return instance_divergences(run.tasks, said, teacher), losses
