"""Train a network by its recipe on the supervision that is in force."""

import torch
from torch import Tensor, nn

from worker.engine.contract import Data, Monitor, Recipe, Refused, TaskSpec
from worker.engine.descent import Descent, Restart, descend
from worker.engine.progress import Progress
from worker.engine.supervision import bind_tasks


def train(
    network: nn.Module,
    specs: tuple[TaskSpec, ...],
    data: Data,
    retained: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    monitor: Monitor,
    restart: Restart | None = None,
) -> int:
    """Train in place on the (instance, task) pairs of `retained` (N, T); returns instance passes.

    Each epoch is a shuffled pass; a last batch that would be short is left to the next shuffle.
    Raises `Refused`: task_would_be_erased, loss_not_finite.
    """
    refuse_erased_tasks(specs, retained)
    tasks = bind_tasks(specs, data, recipe.loss_weights, device)
    instances = int(retained.any(dim=1).sum())
    batch = min(recipe.batch_size, instances)
    steps = recipe.epochs * (instances // batch)
    return descend(
        network.to(device),
        tasks,
        data,
        retained,
        Descent(
            steps=steps,
            batch_size=batch,
            learning_rate=recipe.learning_rate,
            optimizer=recipe.optimizer,
            schedule=recipe.schedule,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
        ),
        seed=seed,
        label="training",
        device=device,
        progress=Progress(monitor, steps * batch),
        restart=restart,
    )


def refuse_erased_tasks(specs: tuple[TaskSpec, ...], retained: Tensor) -> None:
    """Raises `Refused("task_would_be_erased")` if some task keeps no supervision at all."""
    for column, spec in enumerate(specs):
        if not bool(retained[:, column].any()):
            raise Refused(
                "task_would_be_erased",
                f"Nothing would remain to learn task {spec.name!r} from: register a model without that task "
                "instead.",
            )
