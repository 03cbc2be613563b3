"""Which parameters may move, and which of them several tasks share.

A parameter that the registered network holds frozen was not trained, so no supervision is in it: unlearning,
probe and retraining leave it as it is. What more than one task uses is shared, wherever it lies: in the
backbone, or as a tensor that heads have in common.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from worker.engine.contract import Refused


def split_parameters(
    network: nn.Module, like: nn.Module, named: Sequence[str]
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(shared, own) parameters that forgetting the `named` tasks may move; only they require gradients then.

    like: the registered network, whose flags say what is frozen. own: of the named tasks' heads alone. What
    only un-named heads use is neither. Raises `Refused("network_frozen")` if nothing is left to move.
    """
    backbone: nn.Module = network.get_submodule("shared")
    heads: Any = network.get_submodule("heads")
    users: dict[nn.Parameter, set[str]] = defaultdict(set)
    for name, head in heads.items():
        for parameter in head.parameters():
            users[parameter].add(name)
    movable = {
        parameter
        for parameter, given in zip(network.parameters(), like.parameters(), strict=True)
        if given.requires_grad
    }
    common = [p for p, names in users.items() if len(names) > 1 and names & set(named)]
    shared = [p for p in dict.fromkeys([*backbone.parameters(), *common]) if p in movable]
    single = [p for name in named for p in heads[name].parameters() if len(users[p]) == 1]
    own = [p for p in single if p in movable and p not in set(shared)]
    if not shared and not own:
        raise Refused(
            "network_frozen",
            "Every parameter that the named tasks depend on is frozen: there is nothing that could forget. "
            "Register the network as it was trained.",
        )
    network.requires_grad_(False)
    for parameter in (*shared, *own):
        parameter.requires_grad_(True)
    return shared, own


def keep_frozen(network: nn.Module, like: nn.Module) -> None:
    """Give a freshly built network what was never trained: frozen parameters, the buffers of modules that
    have no others (statistics of frozen normalisation), and the flags that say so."""
    with torch.no_grad():
        for module, given in zip(network.modules(), like.modules(), strict=True):
            own = list(zip(module.parameters(recurse=False), given.parameters(recurse=False), strict=True))
            for parameter, registered in own:
                parameter.requires_grad_(registered.requires_grad)
                if not registered.requires_grad:
                    parameter.copy_(registered)
            if own and not any(registered.requires_grad for _, registered in own):
                buffers = zip(module.buffers(recurse=False), given.buffers(recurse=False), strict=True)
                for buffer, registered_buffer in buffers:
                    buffer.copy_(registered_buffer)
