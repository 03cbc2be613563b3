"""Checkpoints: safetensors in and out, byte for byte the same layout.

A safetensors file is eight bytes (the header's length, little-endian), the header (JSON: per tensor its
dtype, shape and offsets, and optional metadata), then the tensors' bytes without gaps. The header that was
registered is written back as it was, so that versions of one model differ in the values of tensors only.
(The library writes metadata in an order of its own, so the same checkpoint would have many digests.)

Networks compute in float32; what is stored as float16 or bfloat16 is converted in and out. For values that
did not change the way there and back is exact.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from worker.engine.contract import Refused

MAX_HEADER_BYTES = 16 << 20
MAX_CHECKPOINT_BYTES = 64 << 30
_FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_WHOLES = {
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of the file. start, end: its bytes, counted from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class CheckpointLayout:
    """How a registered checkpoint is stored. header: verbatim, without its length. tensors: by offset."""

    header: bytes
    tensors: tuple[StoredTensor, ...]
    metadata: Mapping[str, str]


def read_checkpoint(path: Path, network: nn.Module) -> CheckpointLayout:
    """Load the file's tensors into the network, all of them or none at all.

    Raises `Refused`: checkpoint_not_safetensors, checkpoint_truncated, checkpoint_too_large,
    checkpoint_tensor_missing, checkpoint_tensor_extra, checkpoint_shape_mismatch,
    checkpoint_dtype_unsupported, checkpoint_not_finite.
    """
    layout = _read_layout(path)
    expected = network.state_dict()
    _check_names(layout, expected)
    for stored in layout.tensors:
        _check_form(stored, expected[stored.name])
    try:
        with safe_open(path, framework="pt") as file:
            loaded = {stored.name: file.get_tensor(stored.name) for stored in layout.tensors}
    except SafetensorError as error:
        raise _not_safetensors(str(error)) from error
    _check_finite(loaded)
    _check_tied(loaded, expected)
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(loaded[name])
    return layout


def write_checkpoint(path: Path, network: nn.Module, layout: CheckpointLayout) -> None:
    """Store the network as `layout` says: same names, dtypes, shapes, order and metadata. Durable on return.

    The file appears whole or not at all. Raises `Refused("checkpoint_not_finite")`, also where a value
    does not fit the stored dtype.
    """
    values = network.state_dict()
    stored = {
        entry.name: values[entry.name].detach().to("cpu", {**_FLOATS, **_WHOLES}[entry.dtype]).contiguous()
        for entry in layout.tensors
    }
    _check_finite(stored)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(len(layout.header).to_bytes(8, "little"))
        file.write(layout.header)
        for entry in layout.tensors:
            file.write(_bytes(stored[entry.name]))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def new_layout(network: nn.Module, metadata: Mapping[str, str] | None = None) -> CheckpointLayout:
    """The layout of a checkpoint that was not registered before, such as one just trained: in float32."""
    codes = {dtype: code for code, dtype in {**_FLOATS, **_WHOLES}.items()}
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    tensors = network.state_dict()
    # The format wants offsets in the order of alignment: widest elements first.
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name]
        end = start + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": codes[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end],
        }  # fmt: skip
        start = end
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return _parse_header(header)


def _read_layout(path: Path) -> CheckpointLayout:
    size = path.stat().st_size
    if size > MAX_CHECKPOINT_BYTES:
        raise Refused(
            "checkpoint_too_large",
            f"The checkpoint has {size} bytes; at most {MAX_CHECKPOINT_BYTES} are taken.",
        )
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > MAX_HEADER_BYTES:
            raise _not_safetensors("it does not begin with the length of a header")
        header = file.read(length)
    if len(header) < length:
        raise _truncated(f"its header should have {length} bytes, but only {len(header)} are there")
    layout = _parse_header(header)
    expected = 8 + length + (layout.tensors[-1].end if layout.tensors else 0)
    if size < expected:
        raise _truncated(f"it should have {expected} bytes, but has {size}")
    if size > expected:
        raise _not_safetensors(f"{size - expected} bytes follow the last tensor")
    return layout


def _parse_header(header: bytes) -> CheckpointLayout:
    try:
        entries = json.loads(header)
        metadata = {str(key): str(value) for key, value in entries.pop("__metadata__", {}).items()}
        tensors = [
            StoredTensor(
                str(name),
                str(entry["dtype"]),
                tuple(int(length) for length in entry["shape"]),
                int(entry["data_offsets"][0]),
                int(entry["data_offsets"][1]),
            )
            for name, entry in entries.items()
        ]
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OverflowError,  # JSON as Python reads it has an Infinity
        RecursionError,
    ) as error:
        raise _not_safetensors("its header cannot be read") from error
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    position = 0
    for tensor in tensors:
        if tensor.start != position or tensor.end < tensor.start:
            raise _not_safetensors("its tensors overlap or leave gaps")
        position = tensor.end
    return CheckpointLayout(header, tuple(tensors), metadata)


def _check_names(layout: CheckpointLayout, expected: Mapping[str, Tensor]) -> None:
    found = {stored.name for stored in layout.tensors}
    missing, extra = sorted(set(expected) - found), sorted(found - set(expected))
    if missing:
        raise Refused(
            "checkpoint_tensor_missing",
            f"The network needs {len(missing)} tensors that the checkpoint does not have: {_some(missing)}.",
        )
    if extra:
        raise Refused(
            "checkpoint_tensor_extra",
            f"The checkpoint has {len(extra)} tensors that the network does not know: {_some(extra)}.",
        )


def _check_form(stored: StoredTensor, expected: Tensor) -> None:
    if stored.shape != tuple(expected.shape):
        raise Refused(
            "checkpoint_shape_mismatch",
            f"Tensor {stored.name!r} has shape {list(stored.shape)} in the checkpoint and "
            f"{list(expected.shape)} in the network.",
        )
    taken = _FLOATS if expected.is_floating_point() else _WHOLES
    if stored.dtype not in taken or (taken is _WHOLES and taken[stored.dtype] != expected.dtype):
        wanted = ", ".join(_FLOATS) if taken is _FLOATS else str(expected.dtype)
        raise Refused(
            "checkpoint_dtype_unsupported",
            f"Tensor {stored.name!r} is stored as {stored.dtype}; this network takes {wanted}.",
        )


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise Refused(
                "checkpoint_not_finite",
                f"Tensor {name!r} holds NaN or infinite numbers, or ones that its stored dtype cannot hold.",
            )


def _check_tied(loaded: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Names of one and the same tensor must have one value."""
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, tensor in expected.items():
        other = first.setdefault((tensor.data_ptr(), tuple(tensor.shape)), name)
        if tensor.numel() > 0 and not torch.equal(loaded[other], loaded[name]):
            raise Refused(
                "checkpoint_tied_tensors_differ",
                f"Tensors {other!r} and {name!r} are one in the network and two in the checkpoint: their "
                "values differ.",
            )


def _bytes(tensor: Tensor) -> bytes:
    return tensor.flatten().view(torch.uint8).numpy().tobytes()


def _not_safetensors(reason: str) -> Refused:
    return Refused("checkpoint_not_safetensors", f"The checkpoint is not a safetensors file: {reason}.")


def _truncated(reason: str) -> Refused:
    return Refused("checkpoint_truncated", f"The checkpoint is cut short: {reason}. Upload it again.")


def _some(names: list[str]) -> str:
    """As text that can be kept: a name in a checkpoint may be anything."""
    shown = [
        name if name.isprintable() and len(name) <= 200 else repr(name)[:200] + "…" for name in names[:5]
    ]
    return ", ".join(shown) + (", …" if len(names) > 5 else "")
