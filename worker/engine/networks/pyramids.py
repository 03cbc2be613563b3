"""Backbones with feature maps at a quarter, an eighth, a sixteenth and a thirty-second of the input's size.

{"kind": "segformer"}: a mixed transformer (Xie et al. 2021, arXiv 2105.15203); as it stands, MiT-B2.
Fields, all optional: channels, widths, depths, attention_heads, reductions, head_width, dropout, drop_path.

{"kind": "convnext"}: Liu et al. 2022, arXiv 2201.03545; as it stands, ConvNeXt-T. Fields, all optional:
channels, widths, depths, head_width, dropout, drop_path.

Both have SegFormer's all-MLP head per dense task.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from worker.engine.contract import TaskSpec
from worker.engine.networks.dense_heads import PyramidHead
from worker.engine.networks.dense_network import DenseNetwork, ImageHead, heads_per_task
from worker.engine.networks.fields import invalid, only_fields
from worker.engine.networks.optional_fields import integer, integers, share

_COMMON = {"kind", "channels", "widths", "depths", "head_width", "dropout", "drop_path"}
_STRIDES = (4, 8, 16, 32)


class HiddenMaps(nn.Module):
    """The hidden states of a model that is no backbone of Hugging Face's library, as maps."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> list[Tensor]:
        return list(self.model(inputs, output_hidden_states=True, return_dict=True).hidden_states)[-4:]


class FeatureMaps(nn.Module):
    """All feature maps of a backbone of Hugging Face's library."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> list[Tensor]:
        return list(self.model(inputs).feature_maps)


def build_segformer(spec: Mapping[str, Any], tasks: tuple[TaskSpec, ...]) -> nn.Module:
    """Raises `Refused("network_spec_invalid")`."""
    only_fields(spec, _COMMON | {"attention_heads", "reductions"})
    channels = integer(spec, "channels", 3, 1, 1024)
    widths = integers(spec, "widths", (64, 128, 320, 512), 1, 4096, length=4)
    depths = integers(spec, "depths", (3, 4, 6, 3), 1, 64, length=4)
    attention = integers(spec, "attention_heads", (1, 2, 5, 8), 1, 64, length=4)
    reductions = integers(spec, "reductions", (8, 4, 2, 1), 1, 64, length=4)
    if any(width % heads for width, heads in zip(widths, attention, strict=True)):
        raise invalid("attention_heads", "divisors of 'widths', stage by stage")
    drop_path = share(spec, "drop_path", 0.1)

    from transformers import AutoConfig, AutoModel

    settings = AutoConfig.for_model(
        "segformer", num_channels=channels, hidden_sizes=widths, depths=depths, num_attention_heads=attention,
        sr_ratios=reductions, drop_path_rate=drop_path, dtype="float32",
    )  # fmt: skip
    model = AutoModel.from_config(settings)  # type: ignore[no-untyped-call]
    smallest = max(stride * reduction for stride, reduction in zip(_STRIDES, reductions, strict=True))
    return _with_heads(HiddenMaps(model), widths, spec, tasks, channels, smallest)


def build_convnext(spec: Mapping[str, Any], tasks: tuple[TaskSpec, ...]) -> nn.Module:
    """Raises `Refused("network_spec_invalid")`."""
    only_fields(spec, _COMMON)
    channels = integer(spec, "channels", 3, 1, 1024)
    widths = integers(spec, "widths", (96, 192, 384, 768), 1, 4096, length=4)
    depths = integers(spec, "depths", (3, 3, 9, 3), 1, 64, length=4)
    drop_path = share(spec, "drop_path", 0.1)

    from transformers import AutoBackbone, AutoConfig

    settings = AutoConfig.for_model(
        "convnext", num_channels=channels, hidden_sizes=widths, depths=depths, drop_path_rate=drop_path,
        out_features=["stage1", "stage2", "stage3", "stage4"], dtype="float32",
    )  # fmt: skip
    model = AutoBackbone.from_config(settings)  # type: ignore[no-untyped-call]
    return _with_heads(FeatureMaps(model), widths, spec, tasks, channels, _STRIDES[-1])


def _with_heads(
    shared: nn.Module,
    widths: list[int],
    spec: Mapping[str, Any],
    tasks: tuple[TaskSpec, ...],
    channels: int,
    smallest: int,
) -> DenseNetwork:
    head_width = integer(spec, "head_width", 256, 1, 4096)
    dropout = share(spec, "dropout", 0.1)
    heads = heads_per_task(
        tasks,
        lambda outputs: PyramidHead(widths, head_width, outputs, dropout),
        lambda outputs: ImageHead(widths[-1], outputs),
    )
    return DenseNetwork(shared, heads, channels=channels, smallest=smallest)
