"""What a piece of work cost on this machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Cost:
    """passes: forward-backward passes in instances. seconds: of the wall's clock. processor_seconds: of this
    process, which is what to compare when machines are shared."""

    passes: int = 0
    forward_passes: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0


@contextmanager
def timed() -> Iterator[Cost]:
    """Fills both times in on the way out."""
    cost = Cost()
    wall, processor = time.perf_counter(), time.process_time()
    try:
        yield cost
    finally:
        cost.seconds = round(time.perf_counter() - wall, 4)
        cost.processor_seconds = round(time.process_time() - processor, 4)
