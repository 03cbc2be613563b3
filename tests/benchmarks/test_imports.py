"""Benchmarks use names that are the code's own: whoever moves one is told here."""

from importlib import import_module
from pkgutil import walk_packages

import benchmarks
import chaos

# What a process of its own begins with: it needs the settings of one.
PROCESSES = ("__main__", "noop_worker")


def test_every_benchmark_finds_what_it_imports() -> None:
    found = [
        module.name
        for package in (benchmarks, chaos)
        for module in walk_packages(package.__path__, f"{package.__name__}.")
        if not module.name.endswith(PROCESSES)
    ]
    assert "benchmarks.queue.long_queue" in found
    for name in found:
        import_module(name)
