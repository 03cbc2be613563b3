"""{"kind": "cnn", "input": [1, 8, 8], "channels": [32, 64], "hidden": 128}: a small convolutional network."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from worker.engine.contract import Refused
from worker.engine.networks.fields import only_fields, width, widths


def build_cnn(spec: Mapping[str, Any]) -> tuple[nn.Module, int]:
    """Per stage a 3x3 convolution, batch normalisation, ReLU and 2x2 pooling; then one hidden layer.

    The backbone, for inputs (B, channels, height, width), and the width of its features.
    """
    only_fields(spec, {"kind", "input", "channels", "hidden"})
    before, height, breadth = widths(spec, "input", length=3)
    channels, hidden = widths(spec, "channels"), width(spec, "hidden")
    layers: list[nn.Module] = []
    for after in channels:
        height, breadth = height // 2, breadth // 2
        if min(height, breadth) < 1:
            raise Refused(
                "network_spec_invalid",
                f"Field 'channels' has {len(channels)} stages, each of which halves the input: "
                "too many for its height and width.",
            )
        layers += [
            nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        before = after
    layers += [nn.Flatten(), nn.Linear(before * height * breadth, hidden), nn.ReLU()]
    return nn.Sequential(*layers), hidden
