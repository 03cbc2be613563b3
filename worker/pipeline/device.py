"""Where the tensors go."""

import torch

from app.core.settings import Settings


def choose_device(settings: Settings) -> torch.device:
    """`auto` takes an accelerator when there is one. Raises `RuntimeError` when one is asked for in vain:
    the fault is this worker's, so another attempt may go elsewhere."""
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise RuntimeError("LETHE_DEVICE is cuda, and this machine has no CUDA device")
    return torch.device("cpu" if settings.device == "cpu" or not available else "cuda")


def device_name(device: torch.device) -> str:
    """As jobs and reports show it."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type
