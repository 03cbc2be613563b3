"""The engine's modules as a new process has them, without what earlier runs may have left in them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

FOLDERS = ("worker.engine", "tests.engine")


@contextmanager
def imported_anew(name: str) -> Iterator[ModuleType]:
    """A module below `FOLDERS` and all that it imports from there, loaded a second time; the first ones are
    back afterwards. A process of its own would take seconds to load torch."""
    parents = [(folder.partition(".")[0], folder.partition(".")[2]) for folder in FOLDERS]
    before = {module: sys.modules.pop(module) for module in _ours()}
    try:
        yield import_module(name)
    finally:
        for module in _ours():
            del sys.modules[module]
        sys.modules.update(before)
        for package, folder in parents:
            setattr(sys.modules[package], folder, before[f"{package}.{folder}"])


def _ours() -> list[str]:
    return [name for name in sys.modules if any((name + ".").startswith(folder + ".") for folder in FOLDERS)]
