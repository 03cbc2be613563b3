"""{"kind": "text", "vocabulary": 30522, "length": 512}: a BERT encoder (Devlin et al. 2019) over token ids.

Further fields, all optional: width (128), layers (2), attention_heads (2), feed_forward (4 times the width),
pad (0), dropout (0.1). Inputs are whole numbers (B, L), L up to `length`, filled up with `pad`; the format
"arrays" gives integers of more than 8 bits through as they are.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.contract import Refused
from worker.engine.networks.fields import invalid, only_fields
from worker.engine.networks.optional_fields import integer, share

_FIELDS = {
    "kind", "vocabulary", "length", "width", "layers", "attention_heads", "feed_forward", "pad", "dropout",
}  # fmt: skip


class TextEncoder(nn.Module):
    """(B, L) token ids → (B, width): the mean of the last hidden states over tokens that are no padding."""

    def __init__(self, model: nn.Module, vocabulary: int, length: int, pad: int) -> None:
        super().__init__()
        self.model = model
        self._vocabulary = vocabulary
        self._length = length
        self._pad = pad

    def forward(self, tokens: Tensor) -> Tensor:
        """Raises `Refused("network_input_mismatch")`. An empty text is taken for its first padding token."""
        self._check(tokens)
        kept = tokens != self._pad
        kept = torch.cat([kept[:, :1] | ~kept.any(dim=1, keepdim=True), kept[:, 1:]], dim=1)
        hidden = self.model(input_ids=tokens, attention_mask=kept.long()).last_hidden_state
        mean: Tensor = (hidden * kept[..., None]).sum(dim=1) / kept.sum(dim=1, keepdim=True)
        return mean

    def _check(self, tokens: Tensor) -> None:
        """An id beyond the vocabulary would take a CUDA device down with it, so it is worth a look."""
        whole = not tokens.is_floating_point() and tokens.ndim == 2
        if not whole or not 1 <= tokens.shape[1] <= self._length:
            raise Refused(
                "network_input_mismatch",
                f"The network takes whole numbers of shape (B, L) with L from 1 to {self._length}, not "
                f"{tokens.dtype} of shape {tuple(tokens.shape)}.",
            )
        if tokens.numel() and not bool(((tokens >= 0) & (tokens < self._vocabulary)).all()):
            raise Refused("network_input_mismatch", f"There are token ids outside 0..{self._vocabulary - 1}.")


def build_text(spec: Mapping[str, Any]) -> tuple[nn.Module, int]:
    """The backbone and the width of its features. Raises `Refused("network_spec_invalid")`."""
    only_fields(spec, _FIELDS)
    vocabulary = integer(spec, "vocabulary", 0, 2, 1 << 20)
    length = integer(spec, "length", 0, 1, 1 << 16)
    width = integer(spec, "width", 128, 1, 8192)
    layers = integer(spec, "layers", 2, 1, 96)
    attention = integer(spec, "attention_heads", 2, 1, 128)
    feed_forward = integer(spec, "feed_forward", 4 * width, 1, 1 << 16)
    pad = integer(spec, "pad", 0, 0, vocabulary - 1)
    dropout = share(spec, "dropout", 0.1)
    if width % attention:
        raise invalid("attention_heads", "a divisor of 'width'")

    from transformers import AutoConfig, AutoModel

    settings = AutoConfig.for_model(
        "bert", vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=attention, intermediate_size=feed_forward, max_position_embeddings=length,
        type_vocab_size=1, pad_token_id=pad, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout, dtype="float32",
    )  # fmt: skip
    model = AutoModel.from_config(settings, attn_implementation="eager", add_pooling_layer=False)  # type: ignore[no-untyped-call]
    return TextEncoder(model, vocabulary, length, pad), width
