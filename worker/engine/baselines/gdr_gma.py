"""GDR-GMA: descend and ascend along gradients that no longer conflict, ascending only where retaining allows.

Lin et al., "GDR-GMA: Machine Unlearning via Direction-Rectified and Magnitude-Adjusted Gradients", ACM
Multimedia 2024. With g_r the gradient of the retain loss L_r and g_f that of the ascent −L_f, per tensor of
weights, *direction rectification* projects either onto the plane normal to the other where they conflict:

    g_r′ = g_r − min(0, g_r·g_f) g_f / ‖g_f‖²,      g_f′ = g_f − min(0, g_r·g_f) g_r / ‖g_r‖²

so that g_r′·g_f ≥ 0, g_f′·g_r ≥ 0 and g_r′·g_f′ ≥ 0. *Magnitude adjustment* then steps against

    (1 − λ) g_r′ + λ g_f′,      λ = 1 / (1 + exp γ(L_r − ε))

The paper's text was not at hand: this is read off the authors' code (RUIYUN-ML/GDR-GMA, unlearn.py and
memory_bank.py), whose γ = 100, ε = 0.02, Adam, and ten epochs over the forget set with as many retain batches
are the defaults here; its rate is for its own networks. As there, a *bank* holds the forget gradients of the
last epoch's steps for the last tensor of the network, and from the second epoch on g_f′ is rectified there
against the mean of those that it conflicts with. Two lines of that code we take for slips: it projects g_f
along g_r′ in place of g_r, which leaves a part of the conflict, and adds up the bank in its first entry.

Several tasks: L_f is of the named supervision, L_r of all retained supervision; all heads move. The bank is
of each head's last tensor. Any kind's loss serves, but not every network has L_r below 0.02, as theirs
for CIFAR-10 had: with noise, regression or several tasks λ would be 0 throughout, and nothing forgotten. So
L_r is counted from the original's, on the same batch; where that is zero, nothing changes.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.baselines.gradients import gradients_of
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.run import Run, Sample
from worker.engine.contract import Budget, Guarantee, Monitor, Outcome, Problem
from worker.engine.supervision import instance_losses

TINY = 1e-30


@dataclass(frozen=True)
class GdrGmaSettings:
    """gamma: how sharply λ falls. epsilon: the rise of the retain loss at which both sides weigh the same.

    Epochs are passes over the forget set.
    """

    gamma: float = 100.0
    epsilon: float = 0.02
    pace: Pace = field(default_factory=lambda: Pace(epochs=10, rate=0.1))


@dataclass(frozen=True)
class GdrGma:
    """Step along the rectified, weighted gradients. The budget's scale multiplies the epochs."""

    name: str = "gdr_gma"
    guarantee: Guarantee = "empirical"
    settings: GdrGmaSettings = field(default_factory=GdrGmaSettings)

    def __call__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> Outcome:
        """Raises `Refused`: network_frozen, task_would_be_erased, forget_set_too_large, loss_not_finite."""
        run = Run(problem, budget, seed=seed, device=device, monitor=monitor)
        if run.idle:
            return run.outcome()
        settings, pace, pool = self.settings, self.settings.pace, len(run.forget_rows)
        steps = pace.steps(problem.recipe, pool, budget.scale)
        forget = run.stream(run.forget_rows, pace.batch(problem.recipe, pool), "forget")
        retain = run.stream(run.retain_rows, pace.batch(problem.recipe, len(run.retain_rows)), "retain")
        run.expect(steps * (forget.batch_size + retain.batch_size))
        parameters = list(run.network.parameters())
        banks = {number: Bank(forget.batches_per_pass) for number in last_of_heads(run)}
        weights: list[Tensor] = []

        def gradients(step: int) -> Tensor:
            kept, gone = run.sample(retain.batch(step)), run.sample(forget.batch(step))
            keep = run.mean(run.losses(kept), kept.retained)
            lose = -run.mean(run.losses(gone), gone.forgotten)
            rise = keep.detach() - original_loss(run, kept)
            weights.append(forget_weight(rise, settings.gamma, settings.epsilon))
            pairs = zip(gradients_of(keep, parameters), gradients_of(lose, parameters), strict=True)
            for number, (ours, theirs) in enumerate(pairs):
                ascent = rectified(theirs, ours)
                if number in banks:
                    ascent = banks[number].rectify(theirs, ascent, from_now=step >= forget.batches_per_pass)
                descent = rectified(ours, theirs)
                parameters[number].grad = (1 - weights[-1]) * descent + weights[-1] * ascent
            return (keep + lose).detach()

        run.walk(pace, steps, pool).take(steps, gradients, "rectifying and weighing")
        return run.outcome({"forget_weight": round(float(torch.stack(weights).mean()), 4)})


def rectified(gradient: Tensor, other: Tensor) -> Tensor:
    """The gradient, projected onto the plane normal to the other one where the two conflict; any shape."""
    conflict = (gradient * other).sum().clamp(max=0)
    return gradient - conflict / other.square().sum().clamp(min=TINY) * other


def forget_weight(rise: Tensor, gamma: float, epsilon: float) -> Tensor:
    """λ, a scalar in 0 … 1: ½ where the retain loss has risen by epsilon."""
    return torch.sigmoid(gamma * (epsilon - rise))


class Bank:
    """The forget gradients of one tensor in the last `size` steps."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._gradients: list[Tensor] = []

    def rectify(self, found: Tensor, ascent: Tensor, *, from_now: bool) -> Tensor:
        """Remember `found`; the ascent, rectified against the mean of those held that it conflicts with."""
        self._gradients = [*self._gradients, found][-self._size :]
        if not from_now:
            return ascent
        held = torch.stack(self._gradients).flatten(1)
        conflicts = held @ ascent.flatten() < 0
        mean = held[conflicts].sum(dim=0) / conflicts.sum().clamp(min=1)
        return rectified(ascent, mean.view_as(ascent))


def last_of_heads(run: Run) -> set[int]:
    """Numbers, among the network's parameters, of the last one of each head that has any of its own."""
    names = [name for name, _ in run.network.named_parameters()]
    heads = (
        [n for n, name in enumerate(names) if name.startswith(f"heads.{task.name}.")] for task in run.tasks
    )
    return {numbers[-1] for numbers in heads if numbers}


def original_loss(run: Run, sample: Sample) -> Tensor:
    """L_r of the original on the same batch; a forward pass, which is counted."""
    with torch.no_grad():
        said = run.original(sample.batch.inputs)
    run.forward_passes += len(sample.rows)
    return run.mean(instance_losses(run.tasks, said, sample.batch), sample.retained)
