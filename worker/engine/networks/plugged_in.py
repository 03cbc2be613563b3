"""Networks that an operator installed, from the entry points `lethe.networks`.

An entry point names a function (specification, tasks) → network. The network has `shared`, `heads` by task
name, and answers inputs with a mapping from task names to outputs. It takes its initial values from torch's
global generator, which is seeded around the call.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from worker.engine.contract import Refused, TaskSpec
from worker.engine.plugins import broken, load_plugin

_GROUP = "lethe.networks"


def build_plugged_in(name: str, spec: Mapping[str, Any], tasks: tuple[TaskSpec, ...]) -> nn.Module | None:
    """The network, or None if nobody offers it. Raises `Refused("plugin_broken")`, and what it refuses."""
    build = load_plugin(_GROUP, name)
    if build is None:
        return None
    if not callable(build):
        raise broken(_GROUP, name, "it must be a function of a specification and tasks")
    try:
        network = build(spec, tasks)
    except Refused:
        raise
    except Exception as error:  # it is somebody else's code
        raise broken(_GROUP, name, f"building it failed: {type(error).__name__}: {error}") from error
    wrong = _what_is_wrong(network, tasks)
    if wrong:
        raise broken(_GROUP, name, wrong)
    return network  # type: ignore[no-any-return]


def _what_is_wrong(network: object, tasks: tuple[TaskSpec, ...]) -> str | None:
    if not isinstance(network, nn.Module):
        return f"it gave a {type(network).__name__}, not a torch module"
    shared, heads = getattr(network, "shared", None), getattr(network, "heads", None)
    if not isinstance(shared, nn.Module) or not isinstance(heads, nn.ModuleDict):
        return "its network needs a module 'shared' and a ModuleDict 'heads'"
    names = [task.name for task in tasks]
    if sorted(heads) != sorted(names):
        return f"its network has heads for {', '.join(heads)}; the tasks are {', '.join(names)}"
    known = {id(parameter) for part in (shared, heads) for parameter in part.parameters()}
    outside = [path for path, parameter in network.named_parameters() if id(parameter) not in known]
    if outside:
        return f"its network has parameters that are neither in 'shared' nor in 'heads', such as {outside[0]}"
    return None
