"""Task kinds that an operator installed, from the entry points `lethe.task_kinds`."""

from worker.engine.plugins import broken, load_plugin
from worker.engine.tasks.kind import TaskKind

_GROUP = "lethe.task_kinds"
_METHODS = ("read", "fit_ruler", "losses", "divergences", "scores")


def plugged_in_kind(name: str) -> TaskKind | None:
    """The kind, or None if nobody offers it. Raises `Refused("plugin_broken")`."""
    kind = load_plugin(_GROUP, name)
    if kind is None:
        return None
    missing = [method for method in _METHODS if not callable(getattr(kind, method, None))]
    if isinstance(kind, type) or missing or not isinstance(getattr(kind, "metric", None), str):
        raise broken(
            _GROUP,
            name,
            "it must be an object (not a class) with a text 'metric' and the methods "
            + ", ".join(_METHODS)
            + (f"; it lacks {', '.join(missing)}" if missing else ""),
        )
    return kind  # type: ignore[no-any-return]
