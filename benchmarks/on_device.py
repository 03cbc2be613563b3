"""Time, memory and profile of work on a device: it runs on after a call has returned."""

import time
from collections.abc import Callable

import torch


def timed(work: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> int | None:
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


def profiled(step: Callable[[], object], device: torch.device) -> str:
    on_device = device.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if on_device else []
    with torch.profiler.profile(activities=kinds) as profiler:
        step()
        _wait(device)
    by = "self_device_time_total" if on_device else "self_cpu_time_total"
    return str(profiler.key_averages().table(sort_by=by, row_limit=25, max_name_column_width=60))
