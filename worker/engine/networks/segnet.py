"""{"kind": "segnet"}: a shared SegNet (Badrinarayanan et al. 2017) of the size that MTAN compares with.

Fields, all optional: channels, widths ([64, 128, 256, 512, 512]), depths ([2, 2, 3, 3, 3] convolutions per
level, on the way down and on the way up). Every level halves the grid; pooling remembers where its maxima
were, and the way up puts them back there. As it stands, with one segmentation head of 13 classes, it has
the 24,981,069 parameters of MTAN's.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from worker.engine.contract import TaskSpec
from worker.engine.networks.dense_network import DenseNetwork, ImageHead, heads_per_task
from worker.engine.networks.fields import invalid, only_fields
from worker.engine.networks.optional_fields import integer, integers


class SegNet(nn.Module):
    """(B, channels, H, W) → (B, widths[0], H, W), for any H and W of at least 2 per level."""

    def __init__(self, channels: int, widths: list[int], depths: list[int]) -> None:
        super().__init__()
        self.unpool = nn.MaxUnpool2d(2)
        stages = list(zip(pairwise([channels, *widths]), depths, strict=True))
        self.down = nn.ModuleList(_stage(before, after, depth) for (before, after), depth in stages)
        ups = list(zip(pairwise([widths[0], *widths]), depths, strict=True))
        self.up = nn.ModuleList(_stage(after, before, depth) for (before, after), depth in reversed(ups))

    def forward(self, inputs: Tensor) -> Tensor:
        features, remembered = inputs, []
        for stage in self.down:
            features = stage(features)
            grid = features.shape[2:]
            features, places = functional.max_pool2d(features, 2, return_indices=True)
            remembered.append((places, grid))
        for stage in self.up:
            places, grid = remembered.pop()
            features = stage(self.unpool(features, places, output_size=list(grid)))
        return features


def build_segnet(spec: Mapping[str, Any], tasks: tuple[TaskSpec, ...]) -> nn.Module:
    """Raises `Refused("network_spec_invalid")`."""
    only_fields(spec, {"kind", "channels", "widths", "depths"})
    channels = integer(spec, "channels", 3, 1, 1024)
    widths = integers(spec, "widths", (64, 128, 256, 512, 512), 1, 4096)
    depths = integers(spec, "depths", (2, 2, 3, 3, 3)[: len(widths)], 1, 16)
    if len(depths) != len(widths):
        raise invalid("depths", "as long as 'widths'")
    heads = heads_per_task(
        tasks,
        lambda outputs: nn.Sequential(
            nn.Conv2d(widths[0], widths[0], 3, padding=1), nn.Conv2d(widths[0], outputs, 1)
        ),
        lambda outputs: ImageHead(widths[0], outputs),
    )
    return DenseNetwork(SegNet(channels, widths, depths), heads, channels=channels, smallest=2 ** len(widths))


def _stage(before: int, after: int, depth: int) -> nn.Sequential:
    """3x3 convolutions, each with batch normalisation and ReLU; the first one changes the width."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        before = after
    return nn.Sequential(*layers)
