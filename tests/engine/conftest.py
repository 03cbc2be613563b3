"""Machines that run tests are slow and shared: no deadline per example, and the same examples each time."""

import torch
from hypothesis import settings

settings.register_profile("engine", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("engine")
torch.set_num_threads(1)
