"""What an operator installs beside the engine, found by entry point and loaded when first named.

Three groups of entry points (docs/networks-and-data.md): `lethe.networks`, `lethe.data_formats` and
`lethe.task_kinds`. Plug-ins are the operator's own code, installed on the worker like any package; nothing
that a client sends can choose what is installed. Built-in names are never taken over by a plug-in.
"""

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from worker.engine.contract import Refused


def plugin_names(group: str) -> list[str]:
    """Names on offer, sorted. Nothing is imported."""
    return sorted({found.name for found in entry_points(group=group)})


@lru_cache(maxsize=128)
def load_plugin(group: str, name: str) -> Any | None:
    """The object that the entry point names; None if nobody offers that name.

    Raises `Refused("plugin_broken")` if it cannot be imported, or if two packages offer it.
    """
    found = list(entry_points(group=group, name=name))
    if not found:
        return None
    if len({candidate.value for candidate in found}) > 1:
        offers = ", ".join(sorted(_where(candidate) for candidate in found))
        raise broken(group, name, f"several packages offer it: {offers}")
    try:
        return found[0].load()
    except Exception as error:  # it is somebody else's code: importing it may raise anything
        raise broken(
            group, name, f"{_where(found[0])} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def broken(group: str, name: str, reason: str) -> Refused:
    return Refused("plugin_broken", f"The plug-in {name!r} of {group} cannot be used: {reason}.")


def _where(found: EntryPoint) -> str:
    package = found.dist.name if found.dist is not None else "an unnamed package"
    return f"{found.value} of {package}"
