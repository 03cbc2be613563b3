"""Network specifications, by kind, and how they are built.

A specification is JSON: `{"kind": "mlp", …}`. Every network has a `shared` backbone and `heads`, one per
task, and its initial values come from the generator that is given and from nothing else.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from worker.engine.contract import Refused, TaskSpec
from worker.engine.networks.cnn import build_cnn
from worker.engine.networks.fields import MAX_WIDTH
from worker.engine.networks.mlp import build_mlp
from worker.engine.networks.multi_task import MultiTaskNetwork
from worker.engine.networks.transformers_backbone import build_transformers
from worker.engine.randomness import borrowed_global_generator

NETWORK_KINDS: dict[str, Callable[[Mapping[str, Any]], tuple[nn.Module, int]]] = {
    "cnn": build_cnn,
    "mlp": build_mlp,
    "transformers": build_transformers,
}

MAX_PARAMETERS = 1_000_000_000


def build_network(
    spec: Mapping[str, Any], tasks: tuple[TaskSpec, ...], generator: torch.Generator
) -> MultiTaskNetwork:
    """A freshly initialised network in float32 on the CPU, in training mode.

    It is built without memory first, and counted. Raises `Refused("network_spec_invalid")`, which names
    the field and what was expected.
    """
    if count_parameters(spec, tasks) > MAX_PARAMETERS:
        raise Refused(
            "network_spec_invalid",
            f"The network would have more than {MAX_PARAMETERS} parameters; make it smaller.",
        )
    seed = int(torch.randint(2**62, (), generator=generator))
    with borrowed_global_generator(seed, torch.device("cpu")):
        return _assemble(spec, tasks).train()


def count_parameters(spec: Mapping[str, Any], tasks: tuple[TaskSpec, ...]) -> int:
    """Without allocating any of them. Raises `Refused("network_spec_invalid")`."""
    try:
        with borrowed_global_generator(0, torch.device("cpu")), torch.device("meta"):
            return sum(parameter.numel() for parameter in _assemble(spec, tasks).parameters())
    except RuntimeError as error:  # sizes whose product overflows even without memory
        raise Refused("network_spec_invalid", f"The network cannot be built: {error}") from error


def _assemble(spec: Mapping[str, Any], tasks: tuple[TaskSpec, ...]) -> MultiTaskNetwork:
    kind = spec.get("kind") if isinstance(spec, Mapping) else None
    if kind not in NETWORK_KINDS:
        raise Refused(
            "network_spec_invalid", f"Field 'kind' of the network must be one of {', '.join(NETWORK_KINDS)}."
        )
    if not tasks or len({task.name for task in tasks}) < len(tasks):
        raise Refused("network_spec_invalid", "A network needs one or more tasks, each with its own name.")
    for task in tasks:
        if not 1 <= task.outputs <= MAX_WIDTH:
            raise Refused(
                "network_spec_invalid", f"Task {task.name!r} must have from 1 to {MAX_WIDTH} outputs."
            )
    shared, width = NETWORK_KINDS[str(kind)](spec)
    return MultiTaskNetwork(shared, width, tasks)


__all__ = ["MAX_PARAMETERS", "NETWORK_KINDS", "MultiTaskNetwork", "build_network", "count_parameters"]
