"""How much of the training data a network knows by heart, before anything is unlearned."""

from typing import Any

import torch
from torch import nn

from worker.engine.contract import Data, Monitor, TaskSpec
from worker.engine.evaluation.intervals import estimate
from worker.engine.evaluation.membership import membership
from worker.engine.measurement import measure
from worker.engine.progress import Progress
from worker.engine.randomness import derived_generator
from worker.engine.supervision import bind_tasks

SAMPLE = 2000


def memorisation(
    network: nn.Module,
    *,
    tasks: tuple[TaskSpec, ...],
    train: Data,
    holdout: Data,
    seed: int,
    device: torch.device,
    monitor: Monitor,
    sample: int = SAMPLE,
) -> dict[str, Any]:
    """Per task: metric on training data and holdout (at most `sample` instances each), their gap in points,
    and the membership AUC. A network without a gap has nothing to unlearn that could be measured."""
    bound = bind_tasks(tasks, train, {}, device)
    network = network.to(device)
    parts = []
    progress = Progress(monitor, min(sample, len(train)) + min(sample, len(holdout)))
    for name, data in (("train", train), ("holdout", holdout)):
        rows = torch.randperm(len(data), generator=derived_generator(seed, "memorisation", name))[:sample]
        parts.append(
            measure(network, bound, data, rows.sort().values, device=device, progress=progress, note=name)
        )
    learned, unseen = parts
    found: dict[str, Any] = {}
    for column, spec in enumerate(tasks):
        seen, held = learned.present[:, column], unseen.present[:, column]
        on_train, on_holdout = estimate(learned.scores[seen, column]), estimate(unseen.scores[held, column])
        found[spec.name] = {
            "metric": bound[column].kind.metric,
            "train": on_train,
            "holdout": on_holdout,
            "gap": None
            if on_train is None or on_holdout is None
            else on_train["value"] - on_holdout["value"],
            "membership": membership(learned.losses[seen, column], unseen.losses[held, column]),
        }
    return found
