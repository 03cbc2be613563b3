"""What a network does on given rows, instance by instance, without gradients."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.engine.contract import Data
from worker.engine.progress import Progress
from worker.engine.supervision import Task, instance_losses, instance_scores

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Measurement:
    """losses, scores (n, T) float and present (n, T) bool, on the CPU, in the order of the rows given.

    outputs: per task (n, width), on the network's device; empty unless they were asked for.
    """

    losses: Tensor
    scores: Tensor
    present: Tensor
    outputs: Mapping[str, Tensor]

    def points(self, column: int, mask: Tensor | None = None) -> float:
        """The metric of one task over its supervised instances (and `mask` (n,)), in points; NaN if none."""
        kept = self.present[:, column] if mask is None else self.present[:, column] & mask
        return float(self.scores[kept, column].double().mean() * 100)


def measure(
    network: nn.Module,
    tasks: tuple[Task, ...],
    data: Data,
    rows: Tensor,
    *,
    device: torch.device,
    progress: Progress,
    note: str,
    keep_outputs: bool = False,
) -> Measurement:
    """One forward pass over `rows` (n,), in evaluation mode; the network's mode is put back afterwards."""
    width = len(tasks)
    losses, scores, present = [torch.zeros(0, width)], [torch.zeros(0, width)], [torch.zeros(0, width) > 0]
    outputs: dict[str, list[Tensor]] = {task.name: [] for task in tasks}
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            for part in torch.split(rows, EVALUATION_BATCH):
                if len(part) == 0:
                    continue
                batch = data.fetch(part)
                moved = batch.to(device)
                given = network(moved.inputs)
                losses.append(instance_losses(tasks, given, moved))
                scores.append(instance_scores(tasks, given, moved))
                present.append(batch.present)
                if keep_outputs:
                    for name, kept in outputs.items():
                        kept.append(given[name])
                progress.advance(len(part), note)
    finally:
        network.train(was_training)
    return Measurement(
        losses=torch.cat([part.cpu() for part in losses]),
        scores=torch.cat([part.cpu() for part in scores]),
        present=torch.cat(present),
        outputs={name: torch.cat(kept) for name, kept in outputs.items() if kept},
    )
