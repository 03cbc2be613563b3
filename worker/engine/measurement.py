"""What a network does on given rows, instance by instance, without gradients."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.engine.contract import Data
from worker.engine.forward import Precision, answers
from worker.engine.progress import Progress
from worker.engine.room import Room, instances_at_once
from worker.engine.supervision import Task, instance_losses, instance_scores

HELD_AS_THEY_ARE = 1 << 28  # bytes of outputs that may stay on the device in full precision


@dataclass(frozen=True)
class Measurement:
    """losses, scores (n, T) float and present (n, T) bool, on the CPU, in the order of the rows given.

    outputs: per task (n, width), empty unless they were asked for: see `hold`.
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
    precision: Precision = "float32",
) -> Measurement:
    """One forward pass over `rows` (n,), in evaluation mode; the network's mode is put back afterwards.

    In batches bounded by what they weigh (`instances_at_once`), halved when memory runs out.
    """
    found = [_Look.empty(len(tasks))]

    def look(part: Tensor) -> "_Look":
        batch = data.fetch(part)
        moved = batch.to(device)
        given = answers(network, moved.inputs, precision)
        return _Look(
            instance_losses(tasks, given, moved).cpu(),
            instance_scores(tasks, given, moved).cpu(),
            batch.present,
            {task.name: hold(given[task.name], len(rows)) for task in tasks} if keep_outputs else {},
        )

    room = Room(instances_at_once(data) if len(rows) else 1)
    was_training, done = network.training, 0
    network.eval()
    try:
        with torch.no_grad():
            while done < len(rows):
                found.append(room.run(lambda most, done=done: look(rows[done : done + most])))  # type: ignore[misc]
                seen = len(found[-1].losses)
                done += seen
                progress.advance(seen, note)
    finally:
        network.train(was_training)
    kept = found[1:] if keep_outputs else []
    return Measurement(
        losses=torch.cat([part.losses for part in found]),
        scores=torch.cat([part.scores for part in found]),
        present=torch.cat([part.present for part in found]),
        outputs={task.name: torch.cat([part.outputs[task.name] for part in kept]) for task in tasks if kept},
    )


def hold(outputs: Tensor, instances: int) -> Tensor:
    """Some outputs out of those of `instances`, where and how all of them can be kept.

    As they are while all fit in `HELD_AS_THEY_ARE`; else in host memory, in half precision if it can hold
    them: answers per pixel of a thousand images would fill a device, and a two-thousandth of a logit or of
    a depth teaches nobody anything.
    """
    if instances * outputs[0].numel() * outputs.element_size() <= HELD_AS_THEY_ARE:
        return outputs
    half = outputs.to(torch.float16)
    return (half if bool(half.isfinite().all()) else outputs).cpu()


@dataclass(frozen=True)
class _Look:
    losses: Tensor
    scores: Tensor
    present: Tensor
    outputs: Mapping[str, Tensor]

    @staticmethod
    def empty(tasks: int) -> "_Look":
        """So that a measurement of no rows has its shapes, too."""
        nothing = torch.zeros(0, tasks)
        return _Look(nothing, nothing, nothing > 0, {})
