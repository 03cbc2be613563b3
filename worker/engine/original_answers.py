"""What the frozen original says of retained instances, and its losses: looked up where rows recur, else
computed. r is the number of retained instances, T of tasks.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from worker.engine.contract import Batch, Data
from worker.engine.forward import Precision, answers
from worker.engine.room import Room, instances_at_once
from worker.engine.sending import send
from worker.engine.supervision import Task, instance_losses

HELD_BYTES = 1 << 26
RECURRING = 2


class OriginalAnswers:
    """z^O of rows of a pool, and ℓ^O.

    Where a run draws every row of its pool `RECURRING` times or more, and all answers fit in `HELD_BYTES`,
    they are computed once, in the pool's order: the same bits whenever, and whoever, asks. That is never
    more than half the passes that it saves; what a run costs still grows with what it draws alone.
    """

    def __init__(
        self,
        network: nn.Module,
        tasks: tuple[Task, ...],
        data: Data,
        pool: Tensor,
        draws: int,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self._network = network
        self._tasks = tasks
        self._precision: Precision = precision
        self._held: Mapping[str, Tensor] = {}
        self._losses = torch.empty(0)
        self._place: Tensor | None = None
        self.passes = 0  # of the pool as a whole; those of single steps are the caller's to count
        if draws >= RECURRING * len(pool):
            self._hold(data, pool, device)

    def of(self, rows: Tensor, batch: Batch, first: int) -> tuple[Mapping[str, Tensor], Tensor]:
        """rows (r,) on the CPU: the batch's instances from `first` on, on the device → per task (r, …), and
        losses (r, T), without gradients."""
        if self._place is not None:
            places = send(self._place[rows], batch.inputs.device)
            return {name: values[places] for name, values in self._held.items()}, self._losses[places]
        targets = {name: values[first:] for name, values in batch.targets.items()}
        return self._look(Batch(batch.inputs[first:], targets, batch.present[first:]))

    def _look(self, batch: Batch) -> tuple[Mapping[str, Tensor], Tensor]:
        with torch.no_grad():
            said = answers(self._network, batch.inputs, self._precision)
            return said, instance_losses(self._tasks, said, batch)

    def _hold(self, data: Data, pool: Tensor, device: torch.device) -> None:
        room, done = Room(instances_at_once(data)), 0
        parts, losses = list[Mapping[str, Tensor]](), list[Tensor]()

        def look(some: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
            return self._look(data.fetch(some).to(device))

        if _bytes(look(pool[:1])[0]) * len(pool) > HELD_BYTES:
            return
        while done < len(pool):
            said, lost = room.run(lambda most, done=done: look(pool[done : done + most]))  # type: ignore[misc]
            parts.append(said)
            losses.append(lost)
            done += len(lost)
        self._held = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        self._losses = torch.cat(losses)
        self._place = torch.zeros(int(pool.max()) + 1, dtype=torch.int64)
        self._place[pool] = torch.arange(len(pool))
        self.passes = len(pool)


def _bytes(found: Mapping[str, Tensor]) -> int:
    return sum(values.numel() * values.element_size() for values in found.values())
