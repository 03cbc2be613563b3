"""How many instances a network computes at once, and fewer as soon as memory runs out."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from worker.engine.contract import Data, Recipe, Refused

Result = TypeVar("Result")

INSTANCES_AT_ONCE = 256
NUMBERS_AT_ONCE = 1 << 24  # of inputs and targets: 18 instances of NYUv2 at 288 x 384
NUMBERS_WITH_GRADIENTS = 1 << 22


class Room:
    """`instances` at once. It only ever shrinks: what did not fit once is not tried again."""

    def __init__(self, instances: int) -> None:
        self.instances = max(1, instances)

    def run(self, work: Callable[[int], Result]) -> Result:
        """`work(instances)`, again with half as many whenever the device's memory runs out.

        `work` must begin anew at each call. Raises `Refused("device_memory_too_small")` if not even one
        instance fits.
        """
        while True:
            try:
                return work(self.instances)
            except torch.OutOfMemoryError as error:
                if self.instances == 1:
                    raise Refused(
                        "device_memory_too_small",
                        "One instance at a time needs more memory than the device has free: use a device "
                        "with more, or the CPU.",
                    ) from error
            # Out of the except clause, so that the error no longer keeps the failed attempt's tensors alive.
            self.instances //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def in_parts(rows: Tensor, most: int) -> tuple[Tensor, ...]:
    """(n,) in parts of at most `most`, as equal as can be: none of a single row unless all are."""
    return torch.tensor_split(rows, -(-len(rows) // most)) if len(rows) > 0 else ()


def instances_at_once(data: Data, numbers: int = NUMBERS_AT_ONCE) -> int:
    """How many instances a batch may hold, by what one of them weighs; reads the first."""
    one = data.fetch(torch.zeros(1, dtype=torch.int64))
    weight = one.inputs.numel() + sum(target.numel() for target in one.targets.values())
    return max(1, min(INSTANCES_AT_ONCE, numbers // max(1, weight)))


def room_to_train(data: Data, recipe: Recipe, batch: int) -> Room:
    """For batches of at most `batch` instances. Of large instances no more are computed at once than
    the network was trained with: where training fitted, this does."""
    return Room(min(batch, max(recipe.batch_size, instances_at_once(data, NUMBERS_WITH_GRADIENTS))))
