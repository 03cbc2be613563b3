"""Names by content: the SHA-256 of what determines a thing, in canonical JSON."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def digest_of(identity: Mapping[str, Any]) -> str:
    """Hex, 24 digits."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def digest_of_mask(mask: Tensor) -> str:
    """Hex, 24 digits, of a bool tensor and its shape."""
    content = repr(tuple(mask.shape)).encode() + mask.numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:24]
