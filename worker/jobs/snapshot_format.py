"""Engine snapshots as one safetensors file: tensors as tensors, the rest as JSON in its header.

Never pickle: a snapshot comes back from storage, and unpickling runs whatever it holds.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def write_snapshot(snapshot: Mapping[str, Any], path: Path) -> None:
    """Write tensors, numbers, strings, None, and mappings, lists and tuples of these.

    Raises `TypeError` on anything else.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = _encode(snapshot, tensors)
    save_file(tensors, path, metadata={"tree": json.dumps(tree)})


def read_snapshot(path: Path) -> dict[str, Any]:
    """What `write_snapshot` wrote; tensors come back on the CPU."""
    with safe_open(path, framework="pt") as file:
        tree = json.loads(file.metadata()["tree"])
        decoded: dict[str, Any] = _decode(tree, file)
    return decoded


def _encode(value: Any, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        # A copy of its own: safetensors refuses tensors that share memory.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"mapping": [[key, _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(item, tensors) for item in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise TypeError(f"a snapshot cannot hold {type(value).__name__}")


def _decode(node: dict[str, Any], file: Any) -> Any:
    ((kind, content),) = node.items()
    if kind == "tensor":
        return file.get_tensor(content)
    if kind == "mapping":
        return {key: _decode(item, file) for key, item in content}
    if kind == "list":
        return [_decode(item, file) for item in content]
    if kind == "tuple":
        return tuple(_decode(item, file) for item in content)
    return content
