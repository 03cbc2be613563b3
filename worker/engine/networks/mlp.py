"""{"kind": "mlp", "inputs": 64, "hidden": [256, 128]}: fully connected layers over flattened inputs."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import nn

from worker.engine.networks.fields import only_fields, width, widths


def build_mlp(spec: Mapping[str, Any]) -> tuple[nn.Module, int]:
    """The backbone and the width of its features."""
    only_fields(spec, {"kind", "inputs", "hidden"})
    sizes = [width(spec, "inputs"), *widths(spec, "hidden")]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers), sizes[-1]
