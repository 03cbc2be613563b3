"""Data formats, by the name that a registered dataset gives."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worker.engine.contract import Data, Refused, TaskSpec
from worker.engine.data.arrays import describe_arrays, open_arrays
from worker.engine.data.description import Description, TargetDescription
from worker.engine.data.holdout import Subset, check_disjoint, split_holdout
from worker.engine.data.mtan import describe_cityscapes, describe_nyuv2, open_cityscapes, open_nyuv2
from worker.engine.data.signs_of_life import alive, listening
from worker.engine.plugins import broken, load_plugin, plugin_names


@dataclass(frozen=True)
class Format:
    """How a format is described (tasks unknown) and opened (tasks known)."""

    describe: Callable[[Path], Description]
    open: Callable[[Path, tuple[TaskSpec, ...]], Data]


FORMATS: dict[str, Format] = {
    "arrays": Format(describe_arrays, open_arrays),
    "cityscapes": Format(describe_cityscapes, open_cityscapes),
    "nyuv2": Format(describe_nyuv2, open_nyuv2),
}
_PLUGINS = "lethe.data_formats"


def describe(format: str, path: Path) -> Description:
    """Read a data set as its format says, without knowing its tasks. Raises `Refused("data_…")`."""
    return _format(format).describe(path)


def open_data(format: str, path: Path, tasks: tuple[TaskSpec, ...]) -> Data:
    """Open a data set for tasks. Raises `Refused("data_…")`."""
    return _format(format).open(path, tasks)


def _format(name: str) -> Format:
    """Ours, or an operator's own (docs/networks-and-data.md)."""
    if name in FORMATS:
        return FORMATS[name]
    found = load_plugin(_PLUGINS, name)
    if found is None:
        known = sorted({*FORMATS, *plugin_names(_PLUGINS)})
        raise Refused(
            "data_format_unknown",
            f"There is no data format {name!r}; known formats are {', '.join(known)}.",
        )
    if not isinstance(found, Format):
        raise broken(_PLUGINS, name, "it must be a worker.engine.data.Format")
    return found


__all__ = [
    "FORMATS",
    "Description",
    "Format",
    "Subset",
    "TargetDescription",
    "alive",
    "check_disjoint",
    "describe",
    "listening",
    "open_data",
    "split_holdout",
]
