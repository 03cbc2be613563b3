"""How many instances a network computes at once, and fewer as soon as memory runs out."""

from collections.abc import Callable
from typing import TypeVar

import torch

from worker.engine.contract import Refused

Result = TypeVar("Result")


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
