"""{"kind": "deeplab"}: a ResNet with dilated last stages and an atrous pyramid per dense task.

As it stands this is the network that multi-task papers train on NYUv2 (LibMTL's default): ResNet-50 at output
stride 8, dilations 12, 24, 36. Fields, all optional: channels, stem, widths, depths, block ("bottleneck" or
"basic"), output_stride (8, 16 or 32), dilations, head_width, dropout.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from worker.engine.contract import TaskSpec
from worker.engine.networks.dense_heads import AtrousHead
from worker.engine.networks.dense_network import DenseNetwork, ImageHead, heads_per_task
from worker.engine.networks.fields import invalid, only_fields
from worker.engine.networks.optional_fields import integer, integers, share

_FIELDS = {
    "kind", "channels", "stem", "widths", "depths", "block", "output_stride", "dilations", "head_width",
    "dropout",
}  # fmt: skip


class LastMap(nn.Module):
    """The coarsest feature map of a backbone of Hugging Face's library."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        last: Tensor = self.model(inputs).feature_maps[-1]
        return last


def build_deeplab(spec: Mapping[str, Any], tasks: tuple[TaskSpec, ...]) -> nn.Module:
    """Raises `Refused("network_spec_invalid")`. Imports transformers only here: it is slow to import."""
    only_fields(spec, _FIELDS)
    channels = integer(spec, "channels", 3, 1, 1024)
    widths = integers(spec, "widths", (256, 512, 1024, 2048), 4, 8192, length=4)
    depths = integers(spec, "depths", (3, 4, 6, 3), 1, 64, length=4)
    stem = integer(spec, "stem", 64, 1, 4096)
    block, stride = spec.get("block", "bottleneck"), spec.get("output_stride", 8)
    if block not in ("bottleneck", "basic"):
        raise invalid("block", '"bottleneck" or "basic"')
    if stride not in (8, 16, 32) or isinstance(stride, (bool, float)):
        raise invalid("output_stride", "8, 16 or 32")
    dilations = integers(spec, "dilations", (12, 24, 36), 1, 512)
    head_width = integer(spec, "head_width", 256, 1, 4096)
    dropout = share(spec, "dropout", 0.5)

    from transformers import AutoBackbone, AutoConfig

    settings = AutoConfig.for_model(
        "resnet", num_channels=channels, embedding_size=stem, hidden_sizes=widths, depths=depths,
        layer_type=block, out_features=["stage4"], dtype="float32",
    )  # fmt: skip
    model = AutoBackbone.from_config(settings)  # type: ignore[no-untyped-call]
    _dilate(model.encoder.stages, stride)
    heads = heads_per_task(
        tasks,
        lambda outputs: AtrousHead(widths[-1], head_width, outputs, dilations, dropout),
        lambda outputs: ImageHead(widths[-1], outputs),
    )
    return DenseNetwork(LastMap(model), heads, channels=channels, smallest=2 * stride)


def _dilate(stages: nn.ModuleList, output_stride: int) -> None:
    """Trade the stride of the last stages for dilation (Yu et al. 2017, Dilated Residual Networks).

    A stage that no longer halves the grid dilates its first 3x3 convolution as the stage before did, and
    those after it twice as much, so that every filter sees what it saw at output stride 32.
    """
    dilation = 1
    for number, stage in enumerate(stages):
        if 4 * 2**number <= output_stride:
            continue
        for module in stage.modules():
            if not isinstance(module, nn.Conv2d):
                continue
            halves, spatial = module.stride == (2, 2), module.kernel_size == (3, 3)
            if halves:
                module.stride = (1, 1)
            if spatial:
                size = dilation if halves else 2 * dilation
                module.dilation, module.padding = (size, size), (size, size)
        dilation *= 2
