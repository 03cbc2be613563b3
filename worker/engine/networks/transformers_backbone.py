"""{"kind": "transformers", "config": {"model_type": "resnet", …}}: a backbone of Hugging Face's library.

Built from its JSON configuration alone: nothing is downloaded and no remote code runs. Only model types
that are tried here are taken, and options that would fetch something (kernels, quantisers, other
backbones) are refused wherever they stand in the configuration.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from worker.engine.contract import Refused
from worker.engine.networks.fields import MAX_WIDTH, invalid, only_fields

MODEL_TYPES = (
    "bert",
    "convnext",
    "convnextv2",
    "deit",
    "dinov2",
    "distilbert",
    "regnet",
    "resnet",
    "roberta",
    "swin",
    "vit",
)
MAX_REPEATS = 256
_REPEATS = ("layer", "depth", "stage", "head", "block")
_REFUSED = (
    "attn_implementation",
    "auto_map",
    "backbone",
    "code",
    "experts",
    "kernel",
    "quantization",
    "timm",
)


class PooledBackbone(nn.Module):
    """The model's own pooled output, or the mean of its last hidden state over positions: (B, width)."""

    def __init__(self, model: nn.Module, main_input: str) -> None:
        super().__init__()
        self.model = model
        self._main_input = main_input

    def forward(self, inputs: Tensor) -> Tensor:
        given = self.model(**{self._main_input: inputs})
        pooled: Tensor | None = given.get("pooler_output")
        if pooled is not None:
            return pooled.flatten(1)
        hidden: Tensor = given["last_hidden_state"]
        return hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)


def build_transformers(spec: Mapping[str, Any]) -> tuple[nn.Module, int]:
    """The backbone and the width of its features. Imports transformers only here: it is slow to import."""
    only_fields(spec, {"kind", "config"})
    config = spec.get("config")
    if not isinstance(config, Mapping):
        raise invalid("config", "the model's JSON configuration, an object")
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        raise invalid("config.model_type", f"one of {', '.join(MODEL_TYPES)}")
    _check(config, "config")

    from transformers import AutoConfig, AutoModel

    try:
        settings = AutoConfig.for_model(**{**config, "dtype": "float32"})
        model = AutoModel.from_config(settings, trust_remote_code=False, attn_implementation="eager")  # type: ignore[no-untyped-call]
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
        IndexError,
        RuntimeError,
    ) as error:
        raise Refused(
            "network_spec_invalid",
            f"The configuration does not describe a {model_type} that can be built: {error}",
        ) from error
    sizes = getattr(settings, "hidden_sizes", None)
    return PooledBackbone(model, str(model.main_input_name)), int(
        sizes[-1] if sizes else settings.hidden_size
    )


def _check(value: object, field: str) -> None:
    """Bound every number before anything is built: even a network without weights costs time per layer."""
    name = field.rsplit(".", 1)[-1]
    if any(part in name for part in _REFUSED):
        raise Refused("network_spec_invalid", f"Field {field!r} is not taken here; leave it out.")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check(inner, f"{field}.{key}")
    elif isinstance(value, (list, tuple)):
        if len(value) > MAX_REPEATS:
            raise invalid(field, f"at most {MAX_REPEATS} long")
        for inner in value:
            _check(inner, field)
    elif isinstance(value, (int, float)):
        bound = MAX_REPEATS if any(part in name for part in _REPEATS) else MAX_WIDTH
        if abs(value) > bound:
            raise invalid(field, f"at most {bound}")
