"""What the frozen original says of retained instances: looked up where rows recur, else computed."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from worker.engine.contract import Data
from worker.engine.forward import Precision, answers
from worker.engine.room import Room, instances_at_once

HELD_BYTES = 1 << 26
RECURRING = 2


class OriginalAnswers:
    """z^O of rows of a pool.

    Where a run draws every row of its pool `RECURRING` times or more, and all answers fit in `HELD_BYTES`,
    they are computed once, in the pool's order: the same bits whenever, and whoever, asks. That is never
    more than half the passes that it saves; what a run costs still grows with what it draws alone.
    """

    def __init__(
        self,
        network: nn.Module,
        data: Data,
        pool: Tensor,
        draws: int,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self._network = network
        self._precision: Precision = precision
        self._held: Mapping[str, Tensor] = {}
        self._place: Tensor | None = None
        self.passes = 0  # of the pool as a whole; those of single steps are the caller's to count
        if draws >= RECURRING * len(pool):
            self._hold(data, pool, device)

    def of(self, rows: Tensor, inputs: Tensor) -> Mapping[str, Tensor]:
        """rows (B,) on the CPU, inputs (B, …) on the device → per task (B, …), without gradients."""
        if self._place is not None:
            places = self._place[rows].to(inputs.device)
            return {name: values[places] for name, values in self._held.items()}
        with torch.no_grad():
            return answers(self._network, inputs, self._precision)

    def _hold(self, data: Data, pool: Tensor, device: torch.device) -> None:
        room, parts, done = Room(instances_at_once(data)), list[Mapping[str, Tensor]](), 0

        def look(some: Tensor) -> Mapping[str, Tensor]:
            with torch.no_grad():
                return answers(self._network, data.fetch(some).inputs.to(device), self._precision)

        if _bytes(look(pool[:1])) * len(pool) > HELD_BYTES:
            return
        while done < len(pool):
            parts.append(room.run(lambda most, done=done: look(pool[done : done + most])))  # type: ignore[misc]
            done += len(next(iter(parts[-1].values())))
        self._held = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        self._place = torch.zeros(int(pool.max()) + 1, dtype=torch.int64)
        self._place[pool] = torch.arange(len(pool))
        self.passes = len(pool)


def _bytes(found: Mapping[str, Tensor]) -> int:
    return sum(values.numel() * values.element_size() for values in found.values())
