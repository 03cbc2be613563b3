"""The two mechanisms of interference-aware unlearning alone, each of which can be switched off.

Huang et al., "Interference-Aware Multi-Task Unlearning", 2026 (arXiv 2605.19042), as its abstract describes
them; ranks, rates and code are not public, so these are ours. Starting from NegGrad+'s combination
(`negative_gradient_plus`), β g_r + Σ_t g_t with g_t = −(1 − β) ∇ L_{F,t} for each named task t:

    task level       g_t ← g_t − Q Qᵀ g_t on the shared parameters, Q an orthonormal basis of the *other*
                     tasks' retain gradients: an update stays in its own task's subspace
    instance level   g_f = Σ_t g_t loses min(0, ⟨g_f, g_r⟩)/‖g_r‖² · g_r: forgetting does not raise the
                     retain loss to first order

With both off, shared parameters and named heads follow NegGrad+ exactly. The heads of un-named tasks are
frozen: nothing may move there. Any kind's loss serves.

The gradients go to the recipe's optimizer, as all methods' do, which may bend the step itself; with
`plain=True` in the pace the step is the gradient, and its geometry holds to the letter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from worker.engine.baselines.gradients import flat, gradients_of
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem
from worker.engine.orthogonalization import orthogonalize
from worker.engine.projection import project_out
from worker.engine.task_subspaces import estimate_subspaces


@dataclass(frozen=True)
class ProjectedAscentSettings:
    """project, orthogonalize: the task and the instance level. beta: weight of the retained side.

    microbatches: retain gradients per task behind a basis, which serves for `basis_lifetime` steps.
    """

    project: bool = True
    orthogonalize: bool = True
    beta: float = 0.95
    microbatches: int = 12
    basis_lifetime: int = 50
    pace: Pace = field(default_factory=lambda: Pace(epochs=5, rate=0.3))


@dataclass(frozen=True)
class ProjectedAscent:
    """NegGrad+ with the forget direction bent. The budget's scale multiplies the epochs."""

    name: str = "projected_ascent"
    guarantee: Guarantee = "empirical"
    settings: ProjectedAscentSettings = field(default_factory=ProjectedAscentSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        settings, pace, pool = self.settings, self.settings.pace, len(run.retain_rows)
        steps = pace.steps(problem.recipe, pool, budget.scale)
        retain = run.stream(run.retain_rows, pace.batch(problem.recipe, pool), "retain")
        forget = run.stream(run.forget_rows, pace.batch(problem.recipe, len(run.forget_rows)), "forget")
        guide = run.stream(run.retain_rows, pace.batch(problem.recipe, pool), "basis")
        estimates = -(-steps // settings.basis_lifetime) if settings.project else 0
        run.expect(
            steps * (retain.batch_size + forget.batch_size)
            + estimates * settings.microbatches * guide.batch_size
        )
        bases: list[Tensor] = []

        def gradients(step: int) -> Tensor:
            if settings.project and step % settings.basis_lifetime == 0:
                first = step // settings.basis_lifetime * settings.microbatches
                batches = [guide.batch(first + index) for index in range(settings.microbatches)]
                bases[:] = task_bases(run, batches)
            return bent_gradients(run, retain.batch(step), forget.batch(step), bases, settings)

        run.walk(pace, steps, pool).take(steps, gradients, "ascending under projection")
        return run.outcome()


def task_bases(run: Run, batches: Sequence[Tensor]) -> list[Tensor]:
    """For each named task: Q (P, k) of the other tasks' retain gradients over the P shared parameters."""
    run.passes += sum(len(rows) for rows in batches)
    shared, _ = _moving(run)
    found = estimate_subspaces(
        run.network, run.tasks, run.problem.train, run.retained, batches, run.named, shared, run.device
    )
    return [found.others(column) for column in run.named]


def bent_gradients(
    run: Run, retain: Tensor, forget: Tensor, bases: Sequence[Tensor], settings: ProjectedAscentSettings
) -> Tensor:
    """Leave β g_r + the bent forget direction in the moving parameters; the combined loss, detached."""
    shared, heads = _moving(run)
    parameters = [*shared, *heads]
    kept, gone = run.sample(retain), run.sample(forget)
    retain_loss = run.mean(run.losses(kept), kept.retained)
    retained = flat(gradients_of(retain_loss, parameters))
    losses, value, directions = run.losses(gone), settings.beta * retain_loss.detach(), []
    for column in run.named:
        only = torch.zeros_like(gone.forgotten)
        only[:, column] = gone.forgotten[:, column]
        loss = -(1 - settings.beta) * run.mean(losses, only)
        directions.append(flat(gradients_of(loss, parameters, keep=True)))
        value = value + loss.detach()
    size = sum(parameter.numel() for parameter in shared)
    total = settings.beta * retained + forget_direction(directions, retained, bases, size, settings)
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, part in zip(parameters, torch.split(total, sizes), strict=True):
        parameter.grad = part.view_as(parameter).clone()
    return value


def forget_direction(
    directions: Sequence[Tensor],
    retained: Tensor,
    bases: Sequence[Tensor],
    shared: int,
    settings: ProjectedAscentSettings,
) -> Tensor:
    """g_t (P,) per named task and g_r (P,), the first `shared` entries being shared parameters → g_f (P,).

    bases: per named task (shared, k). Task level first, so that the outcome never opposes g_r.
    """
    total = torch.zeros_like(retained)
    for number, direction in enumerate(directions):
        if settings.project:
            own = project_out(direction[:shared], bases[number].to(direction))
            direction = torch.cat([own, direction[shared:]])
        total += direction
    return orthogonalize(total, retained) if settings.orthogonalize else total


def _moving(run: Run) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Shared parameters, and those of the named tasks' heads."""
    shared, heads = run.network.get_submodule("shared"), run.network.get_submodule("heads")
    named = [run.tasks[column].name for column in run.named]
    own = [parameter for name in named for parameter in heads.get_submodule(name).parameters()]
    return list(shared.parameters()), own
