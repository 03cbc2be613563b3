"""How much memory a run took: sampled at every heartbeat, because a process's own record spans all runs."""

from pathlib import Path

import torch

PAGE = 4096
_STATUS = Path("/proc/self/statm")


class PeakMemory:
    """Bytes above those in use at the start: resident ones on the CPU, allocated ones on an accelerator."""

    def __init__(self) -> None:
        self._start = self._peak = _resident_bytes()

    def sample(self) -> None:
        self._peak = max(self._peak, _resident_bytes())

    def watch(self, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def growth(self, device: torch.device) -> int:
        if device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(device))
        self.sample()
        return self._peak - self._start


def _resident_bytes() -> int:
    return int(_STATUS.read_text().split()[1]) * PAGE
