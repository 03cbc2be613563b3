"""Relearning time: how soon a network knows again what it has forgotten.

A network that still holds it, and merely does not show it, is quicker than one that never saw it. Golatkar,
Achille and Soatto 2020, "Eternal Sunshine of the Spotless Net" (arXiv 1911.04933); its ratio to a retrained
network's, until a level less a margin α, is the anamnesis index of Chundawat et al. 2023, "Zero-Shot Machine
Unlearning" (arXiv 2201.05629): 1 is best, below it something was left.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.engine.contract import Data, Recipe
from worker.engine.descent import Descent, check_finite, make_optimizer
from worker.engine.measurement import measure
from worker.engine.progress import Progress
from worker.engine.randomness import borrowed_global_generator, derive_seed
from worker.engine.room import instances_at_once
from worker.engine.rows import RowStream
from worker.engine.sending import send
from worker.engine.supervision import Task, instance_losses, task_weights, training_loss

MARGIN = 0.05
MOST_VISITS = 40
LOOKS_PER_VISIT = 8


@dataclass(frozen=True)
class Relearned:
    """Of one task: `start`, its metric on the forgotten supervision before the first step, in points; `steps`
    and `instances` (steps times the batch) until the level was reached, None if it was not."""

    start: float
    steps: int | None
    instances: int | None


def relearn(
    network: nn.Module,
    tasks: tuple[Task, ...],
    data: Data,
    forgotten: Tensor,
    levels: Sequence[float],
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
    most_visits: int = MOST_VISITS,
) -> tuple[Relearned, ...]:
    """Train a copy on `forgotten` (N, T) alone, with the recipe's optimizer at its peak rate, until every
    task has reached (1 − `MARGIN`) times its level in points, or each instance had `most_visits` visits.

    Looks are taken before the first step and `LOOKS_PER_VISIT` times per pass. Statistics of normalisation
    stay as they are. A task without forgotten supervision needs no step. Raises `Refused("loss_not_finite")`.
    """
    made = copy.deepcopy(network).to(device).eval()
    rows = forgotten.any(dim=1).nonzero().flatten()
    stream = RowStream(rows, min(recipe.batch_size, instances_at_once(data)), seed=seed, label="relearning")
    descent = Descent(1, stream.batch_size, recipe.learning_rate, recipe.optimizer, momentum=recipe.momentum)
    optimizer = make_optimizer(made.parameters(), descent)
    weights = task_weights(tasks, device)
    every = max(1, stream.batches_per_pass // LOOKS_PER_VISIT)
    wanted = [level * (1 - MARGIN) for level in levels]
    present = forgotten.any(dim=0).tolist()

    def look() -> list[float]:
        quiet = Progress(progress.monitor, 1)
        found = measure(made, tasks, data, rows, device=device, progress=quiet, note="relearning")
        return [found.points(column, forgotten[rows, column]) for column in range(len(tasks))]

    start = look()
    reached = [
        0 if not there or points >= goal else None
        for there, points, goal in zip(present, start, wanted, strict=True)
    ]
    with borrowed_global_generator(derive_seed(seed, "relearning"), device):
        for step in range(most_visits * stream.batches_per_pass):
            if None not in reached:
                break
            chosen = stream.batch(step)
            batch = data.fetch(chosen).to(device)
            optimizer.zero_grad(set_to_none=True)
            losses = instance_losses(tasks, made(batch.inputs), batch)
            loss = training_loss(losses, send(forgotten[chosen], device), weights)
            check_finite(loss.detach(), "relearning")
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            progress.advance(len(chosen), "relearning")
            if (step + 1) % every == 0:
                points = look()
                for column, goal in enumerate(wanted):
                    if reached[column] is None and points[column] >= goal:
                        reached[column] = step + 1
    return tuple(
        Relearned(points, steps, None if steps is None else steps * stream.batch_size)
        for points, steps in zip(start, reached, strict=True)
    )
