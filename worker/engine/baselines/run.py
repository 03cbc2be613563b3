"""One baseline at work on one job: what it moves, what it may look at, and what that has cost.

B is the batch, N the number of training instances, T of tasks, F of instances in the forget set.

Evaluation mode throughout: the statistics of BatchNorm stay those of the original, and dropout is off.
Supervision that earlier jobs forgot is neither in `retained` nor in `forgotten`: no baseline sees it.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worker.engine.baselines.pace import Pace
from worker.engine.contract import Batch, Budget, Monitor, Outcome, Problem, Refused
from worker.engine.descent import check_finite, make_optimizer
from worker.engine.forget_groups import plan_forgetting
from worker.engine.progress import Progress
from worker.engine.rows import RowStream
from worker.engine.sending import send
from worker.engine.supervision import bind_tasks, instance_losses, task_weights, training_loss

INSPECTION = 8


@dataclass(frozen=True)
class Sample:
    """Some rows (B,) with their batch on the device, and which of their supervision (B, T) is which."""

    rows: Tensor
    batch: Batch
    retained: Tensor
    forgotten: Tensor


class Run:
    """The copy being moved (`network`), the frozen original, and the counts for the `Outcome`.

    Raises `Refused`: network_frozen, task_would_be_erased, forget_set_too_large.
    """

    def __init__(
        self, problem: Problem, budget: Budget, *, seed: int, device: torch.device, monitor: Monitor
    ) -> None:
        if not all(parameter.requires_grad for parameter in problem.network.parameters()):
            raise Refused(
                "network_frozen",
                "The network has frozen parameters, which this method would move: use the interference-aware "
                "method or retraining, which leave them alone.",
            )
        plan = plan_forgetting(problem.forget, problem.train.present, problem.tasks)
        self.problem = problem
        self.budget = budget
        self.seed = seed
        self.device = device
        self.network = copy.deepcopy(problem.network).to(device).eval().requires_grad_(True)
        self.original = copy.deepcopy(problem.network).to(device).eval().requires_grad_(False)
        self.tasks = bind_tasks(problem.tasks, problem.train, problem.recipe.loss_weights, device)
        self.weights = task_weights(self.tasks, device)
        self.forget_rows = plan.rows
        self.retained = plan.retained
        self.forgotten = torch.zeros_like(plan.retained)
        self.forgotten[plan.rows] = plan.forgotten
        self.retain_rows = plan.retained.any(dim=1).nonzero().flatten()
        self.progress = Progress(monitor, 0)
        self._expected = 0
        self.steps = self.passes = self.forward_passes = self.forget_passes = 0

    @property
    def idle(self) -> bool:
        """Nothing is to be forgotten: the network stays what it is, to the bit."""
        return len(self.forget_rows) == 0

    @property
    def named(self) -> list[int]:
        """The columns of the tasks that forget something."""
        return [column for column in range(len(self.tasks)) if bool(self.forgotten[:, column].any())]

    def expect(self, instances: int) -> None:
        """Announce work, before it starts, to the progress that the monitor sees."""
        self._expected += instances
        self.progress.total = max(1, self._expected)

    def stream(self, pool: Tensor, batch_size: int, label: str) -> RowStream:
        return RowStream(pool, batch_size, seed=self.seed, label=label)

    def sample(self, rows: Tensor) -> Sample:
        """Fetch rows (B,) for one forward-backward pass, which is counted."""
        self.passes += len(rows)
        self.forget_passes += int(self.forgotten[rows].any(dim=1).sum())
        return Sample(
            rows,
            self.problem.train.fetch(rows).to(self.device),
            send(self.retained[rows], self.device),
            send(self.forgotten[rows], self.device),
        )

    def losses(self, sample: Sample) -> Tensor:
        """(B, T) per-instance losses of the network being moved."""
        return instance_losses(self.tasks, self.network(sample.batch.inputs), sample.batch)

    def mean(self, values: Tensor, mask: Tensor) -> Tensor:
        """Σ_t w_t · mean over the mask (B, T): how recipes add up tasks."""
        return training_loss(values, mask, self.weights)

    def walk(self, pace: Pace, steps: int, pool: int) -> "Walk":
        """An optimizer over all parameters, at a pace; parameters without a gradient are not touched."""
        return Walk(self, pace, steps, pool)

    def outcome(self, details: dict[str, Any] | None = None) -> Outcome:
        """The network as it is now, in its registered mode. Raises `Refused("loss_not_finite")`."""
        originals = self.problem.network.parameters()
        for parameter, like in zip(self.network.parameters(), originals, strict=True):
            check_finite(parameter.detach().sum(), "weights")
            parameter.requires_grad_(like.requires_grad)
            parameter.grad = None
        return Outcome(
            network=self.network.train(self.problem.network.training),
            guarantee="empirical",
            steps=self.steps,
            visits=self.forget_passes / max(1, len(self.forget_rows)),
            passes=self.passes,
            forward_passes=self.forward_passes,
            details=details or {},
        )


class Walk:
    """Updates of a run's network: `take` may be called several times, the schedule goes on."""

    def __init__(self, run: Run, pace: Pace, steps: int, pool: int) -> None:
        self._run = run
        self._descent = pace.descent(run.problem.recipe, steps, pool)
        self._optimizer = make_optimizer(run.network.parameters(), self._descent)
        self._done = 0

    def take(
        self,
        steps: int,
        gradients: Callable[[int], Tensor],
        note: str,
        settle: Callable[[], None] | None = None,
    ) -> None:
        """`gradients(step)`, step 0, 1, …, leaves gradients in the parameters and returns the loss, detached.

        settle: called after each update. Raises `Refused("loss_not_finite")`.
        """
        run = self._run
        for step in range(steps):
            before = run.passes
            self._optimizer.zero_grad(set_to_none=True)
            loss = gradients(step)
            if step % INSPECTION == 0:
                check_finite(loss, note)
            for group in self._optimizer.param_groups:
                group["lr"] = self._descent.rate(self._done)
            self._optimizer.step()
            if settle is not None:
                settle()
            self._done += 1
            run.steps += 1
            run.progress.advance(run.passes - before, note)
