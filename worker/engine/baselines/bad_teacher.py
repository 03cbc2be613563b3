"""Bad-Teacher: on the forget set, imitate a network that has learned nothing.

Chundawat et al., "Can Bad Teaching Induce Forgetting?", AAAI 2023 (arXiv 2205.08096):

    L(x, l_u) = (1 − l_u) · KL(T_s(x) ‖ S(x)) + l_u · KL(T_d(x) ‖ S(x))

T_s, the competent teacher, is the original; T_d, the incompetent one, is freshly initialised; l_u marks
the forget set. One epoch over the forget set and 30 % of the retain set; temperature 1; no labels are used.

Several tasks: l_u is per instance and task, so the un-named tasks of a forget instance follow T_s. All
heads move (towards T_s where nothing is forgotten). Regression and dense targets: KL becomes the kind's own
divergence from what the teacher says.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import backward
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem
from worker.engine.randomness import derived_generator
from worker.engine.supervision import instance_divergences


@dataclass(frozen=True)
class BadTeacherSettings:
    """retain_share: of the retained instances that are not in the forget set."""

    retain_share: float = 0.3
    pace: Pace = field(default_factory=lambda: Pace(epochs=1, rate=1.0))


@dataclass(frozen=True)
class BadTeacher:
    """Distil two teachers into one student. The budget's scale multiplies the epochs."""

    name: str = "bad_teacher"
    guarantee: Guarantee = "empirical"
    settings: BadTeacherSettings = field(default_factory=BadTeacherSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        incompetent = problem.build(derived_generator(seed, "incompetent teacher"))
        incompetent.to(device).eval().requires_grad_(False)
        rows = self._rows(run)
        pace = self.settings.pace
        batch = pace.batch(problem.recipe, len(rows))
        steps = pace.steps(problem.recipe, len(rows), budget.scale)
        stream = run.stream(rows, batch, "students")
        run.expect(steps * batch)

        def gradients(step: int) -> Tensor:
            sample = run.sample(stream.batch(step))
            inputs = sample.batch.inputs
            with torch.no_grad():
                good, bad = run.original(inputs), incompetent(inputs)
            run.forward_passes += 2 * len(inputs)
            said = run.network(inputs)
            keep = instance_divergences(run.tasks, said, good)
            lose = instance_divergences(run.tasks, said, bad)
            chosen = torch.where(sample.forgotten, lose, keep)
            return backward(run.mean(chosen, sample.retained | sample.forgotten))

        run.walk(pace, steps, len(rows)).take(steps, gradients, "bad teaching")
        return run.outcome()

    def _rows(self, run: Run) -> Tensor:
        """The forget set and a share of the other retained instances."""
        others = run.retain_rows[~torch.isin(run.retain_rows, run.forget_rows)]
        generator = derived_generator(run.seed, "bad teacher's retain share")
        order = torch.randperm(len(others), generator=generator)
        kept = others[order[: max(1, round(self.settings.retain_share * len(others)))]]
        return torch.cat([run.forget_rows, kept]).sort().values
