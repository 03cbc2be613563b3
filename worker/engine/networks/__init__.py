"""Network specifications, by kind, and how they are built.

A specification is JSON: `{"kind": "mlp", …}`. Every network has a `shared` backbone and `heads`, one per
task, and its initial values come from the generator that is given and from nothing else. Kinds are those
below, and those that an operator installed (docs/networks-and-data.md).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from worker.engine.contract import Refused, TaskSpec
from worker.engine.networks.cnn import build_cnn
from worker.engine.networks.deeplab import build_deeplab
from worker.engine.networks.fields import MAX_WIDTH
from worker.engine.networks.mlp import build_mlp
from worker.engine.networks.multi_task import MultiTaskNetwork
from worker.engine.networks.plugged_in import build_plugged_in
from worker.engine.networks.pyramids import build_convnext, build_segformer
from worker.engine.networks.segnet import build_segnet
from worker.engine.networks.text import build_text
from worker.engine.networks.transformers_backbone import build_transformers
from worker.engine.plugins import plugin_names
from worker.engine.randomness import borrowed_global_generator
from worker.engine.tasks import is_dense

# Backbones that give one vector per instance, and its width: linear heads are put on them.
NETWORK_KINDS: dict[str, Callable[[Mapping[str, Any]], tuple[nn.Module, int]]] = {
    "cnn": build_cnn,
    "mlp": build_mlp,
    "text": build_text,
    "transformers": build_transformers,
}
# Whole networks: their heads answer per pixel where the task asks for it.
DENSE_NETWORK_KINDS: dict[str, Callable[[Mapping[str, Any], tuple[TaskSpec, ...]], nn.Module]] = {
    "convnext": build_convnext,
    "deeplab": build_deeplab,
    "segformer": build_segformer,
    "segnet": build_segnet,
}

MAX_PARAMETERS = 1_000_000_000


def build_network(
    spec: Mapping[str, Any], tasks: tuple[TaskSpec, ...], generator: torch.Generator
) -> nn.Module:
    """A freshly initialised network in float32 on the CPU, in training mode, with `shared` and `heads`.

    It is built without memory first, and counted (not a plug-in's, which might not bear it). Raises
    `Refused`: network_spec_invalid, which names the field and what was expected; plugin_broken.
    """
    if _is_ours(spec) and count_parameters(spec, tasks) > MAX_PARAMETERS:
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


def _is_ours(spec: Mapping[str, Any]) -> bool:
    kind = spec.get("kind") if isinstance(spec, Mapping) else None
    return isinstance(kind, str) and (kind in NETWORK_KINDS or kind in DENSE_NETWORK_KINDS)


def _assemble(spec: Mapping[str, Any], tasks: tuple[TaskSpec, ...]) -> nn.Module:
    kind = spec.get("kind") if isinstance(spec, Mapping) else None
    if not isinstance(kind, str):
        raise _unknown_kind()
    if not tasks or len({task.name for task in tasks}) < len(tasks):
        raise Refused("network_spec_invalid", "A network needs one or more tasks, each with its own name.")
    for task in tasks:
        if not 1 <= task.outputs <= MAX_WIDTH:
            raise Refused(
                "network_spec_invalid", f"Task {task.name!r} must have from 1 to {MAX_WIDTH} outputs."
            )
    if kind in DENSE_NETWORK_KINDS:
        return DENSE_NETWORK_KINDS[kind](spec, tasks)
    if kind not in NETWORK_KINDS:
        network = build_plugged_in(kind, spec, tasks)
        if network is None:
            raise _unknown_kind()
        return network
    dense = [task.name for task in tasks if is_dense(task)]
    if dense:
        raise Refused(
            "network_spec_invalid",
            f"Task {dense[0]!r} has an answer per pixel, and a network of kind {kind!r} one per instance; "
            f"kinds for it are {', '.join(DENSE_NETWORK_KINDS)}.",
        )
    shared, width = NETWORK_KINDS[kind](spec)
    return MultiTaskNetwork(shared, width, tasks)


def _unknown_kind() -> Refused:
    known = sorted({*NETWORK_KINDS, *DENSE_NETWORK_KINDS, *plugin_names("lethe.networks")})
    return Refused("network_spec_invalid", f"Field 'kind' of the network must be one of {', '.join(known)}.")


__all__ = [
    "DENSE_NETWORK_KINDS",
    "MAX_PARAMETERS",
    "NETWORK_KINDS",
    "MultiTaskNetwork",
    "build_network",
    "count_parameters",
]
