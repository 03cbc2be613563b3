"""Every random choice of the engine comes from a seed that is an argument.

A choice is named by the run's seed and by labels ("probe", step 40), never by how often some generator
was asked before. So a run resumed in the middle draws what the uninterrupted run would have drawn,
without any generator's state in its snapshot.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(seed: int, *labels: str | int) -> int:
    """A 63-bit seed for the choice that `labels` name."""
    digest = hashlib.sha256(repr((seed, labels)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def derived_generator(seed: int, *labels: str | int) -> torch.Generator:
    """A CPU generator for the choice that `labels` name."""
    return torch.Generator().manual_seed(derive_seed(seed, *labels))


@contextmanager
def borrowed_global_generator(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, and put their state back on the way out.

    Layers draw their initial values and dropout masks from the global generators and take no other.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        seed_global_generators(seed, device)
        yield


def seed_global_generators(seed: int, device: torch.device) -> None:
    """Seed the two that layers on `device` draw from: the CPU's and, where it is another, the device's own.

    `torch.manual_seed` seeds those of all devices, and formats a stack trace for each kind of device that the
    process does not use: on a small network that takes longer than a step of training.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
