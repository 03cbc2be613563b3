"""PGU, projected-gradient unlearning: forget outside of the space that the retain set's gradients live in.

Hoang et al., "Learn to Unlearn for Deep Neural Networks: Minimizing Unlearning Interference with Gradient
Projection", WACV 2024 (arXiv 2312.04095). Per linear or convolutional layer, M spans the core gradient space
of the retain set (`core_space`), and plain gradient descent steps along

    g − g M Mᵀ,    g the gradient of  L_u = mean of −log(1 + offset − p)  over the forget set

p is the probability of the true class: at rates that fall exponentially, until the forget set does no
better than held-out data, where it takes the better of the last two epochs. Biases, normalisation and all
other parameters are held, as in the authors' code. Its entropy term is left out: only classes have one.

Several tasks: p = exp(−ℓ) for any kind of task, which is the probability for classes and, for an error, the
likelihood relative to its peak. A head's core space is of the instances retained for its task.
The heads of un-named tasks have no gradient and stay bit-identical.
"""

import copy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from worker.engine.baselines.core_space import core_basis, linear_layers, outside_core, recorded_moments
from worker.engine.baselines.gradients import backward
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem
from worker.engine.measurement import measure
from worker.engine.room import instances_at_once
from worker.engine.sending import send


@dataclass(frozen=True)
class PguSettings:
    """retained_share: of the singular values, per layer. decay: last rate over first. offset: see L_u.

    stop_at_holdout: measure after every epoch, and stop; otherwise all epochs are run.
    """

    retained_share: float = 0.95
    offset: float = 0.05
    decay: float = 0.2
    stop_at_holdout: bool = True
    pace: Pace = field(default_factory=lambda: Pace(epochs=100, rate=0.5, plain=True))


@dataclass(frozen=True)
class Pgu:
    """Descend on L_u outside the core space. The budget's scale multiplies the epochs."""

    name: str = "pgu"
    guarantee: Guarantee = "empirical"
    settings: PguSettings = field(default_factory=PguSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        settings, pace, pool = self.settings, self.settings.pace, len(run.forget_rows)
        forget = run.stream(run.forget_rows, pace.batch(problem.recipe, pool), "forget")
        epochs = max(1, round(pace.epochs * budget.scale))
        looks = (epochs * (pool + len(problem.calibration))) if settings.stop_at_holdout else 0
        run.expect(len(run.retain_rows) + epochs * pool + looks)
        bases = core_bases(run, settings.retained_share)

        def gradients(step: int) -> Tensor:
            sample = run.sample(forget.batch(step))
            likelihood = (-run.losses(sample)).exp()
            loss = run.mean(-(1 + settings.offset - likelihood).log(), sample.forgotten)
            value = backward(loss)
            leave_core(run.network, bases)
            return value

        each, previous, excess = forget.batches_per_pass, None, float("inf")
        for epoch in range(epochs):
            slower = replace(pace, rate=pace.rate * settings.decay ** (epoch / epochs))
            walk = run.walk(slower, each, pool)
            walk.take(each, lambda step, first=epoch * each: gradients(first + step), "projecting")  # type: ignore[misc]
            if not settings.stop_at_holdout:
                continue
            left = self._excess(run)
            if left <= 0:
                if previous is not None and excess < -left:
                    run.network.load_state_dict(previous)
                break
            previous, excess = copy.deepcopy(run.network.state_dict()), left
        return run.outcome({"core_dimensions": {name: basis.shape[1] for name, basis in bases.items()}})

    def _excess(self, run: Run) -> float:
        """By how many points the forget set still does better than held-out data: a mean over named tasks."""

        def look(data: object, rows: Tensor) -> list[float]:
            seen = measure(
                run.network, run.tasks, data, rows,  # type: ignore[arg-type]
                device=run.device, progress=run.progress, note="comparing with held-out data",
            )  # fmt: skip
            run.forward_passes += len(rows)
            mask = run.forgotten[rows] if data is run.problem.train else seen.present
            return [seen.points(column, mask[:, column]) for column in run.named]

        problem = run.problem
        forget = look(problem.train, run.forget_rows)
        holdout = look(problem.calibration, torch.arange(len(problem.calibration)))
        return sum(f - h for f, h in zip(forget, holdout, strict=True)) / len(forget)


def core_bases(run: Run, share: float) -> dict[str, Tensor]:
    """Per layer (in, k), from one forward pass of the original over the retain set."""
    layers = linear_layers(run.network)
    columns = {task.name: column for column, task in enumerate(run.tasks)}
    current: list[Tensor] = []

    def counted(name: str) -> Tensor | None:
        part, _, rest = name.partition(".")
        head = rest.split(".")[0]
        return current[0][:, columns[head]] if part == "heads" and head in columns else None

    with torch.no_grad(), recorded_moments(layers, counted) as moments:
        for rows in torch.split(run.retain_rows, instances_at_once(run.problem.train)):
            current[:] = [send(run.retained[rows], run.device)]
            run.network(run.problem.train.fetch(rows).to(run.device).inputs)
            run.forward_passes += len(rows)
            run.progress.advance(len(rows), "core space")
    return {name: core_basis(moment, share) for name, moment in moments.items()}


def leave_core(network: nn.Module, bases: dict[str, Tensor]) -> None:
    """Project the gradients that are there; parameters without a core space lose theirs."""
    for name, parameter in network.named_parameters():
        layer, _, kind = name.rpartition(".")
        if parameter.grad is None:
            continue
        if kind != "weight" or layer not in bases:
            parameter.grad = None
        else:
            parameter.grad = outside_core(parameter.grad, bases[layer])
