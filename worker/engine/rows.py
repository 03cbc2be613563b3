"""Which rows a step sees: shuffled passes over a pool, addressed by step number."""

import torch
from torch import Tensor

from worker.engine.randomness import derived_generator


class RowStream:
    """Batches of `batch_size` rows; each pass over the pool is shuffled anew, a remainder waits for the next.

    `batch(step)` depends on the seed, the label and the step alone. A pool smaller than the batch is
    given whole at each step.
    """

    def __init__(self, pool: Tensor, batch_size: int, *, seed: int, label: str) -> None:
        if len(pool) == 0:
            raise ValueError("a row stream needs at least one row")
        self.pool = pool
        self.batch_size = min(batch_size, len(pool))
        self.batches_per_pass = len(pool) // self.batch_size
        self._seed = seed
        self._label = label
        self._order: tuple[int, Tensor] | None = None

    def batch(self, step: int) -> Tensor:
        """(batch_size,) rows of the pool, for step 0, 1, 2, …"""
        number, position = divmod(step, self.batches_per_pass)
        start = position * self.batch_size
        return self._pass(number)[start : start + self.batch_size]

    def _pass(self, number: int) -> Tensor:
        if self._order is None or self._order[0] != number:
            generator = derived_generator(self._seed, self._label, number)
            order = torch.randperm(len(self.pool), generator=generator)
            self._order = (number, self.pool[order])
        return self._order[1]
