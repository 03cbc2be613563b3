"""Checkpoints: round trips to the byte, and a refusal for every way a file can be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worker.engine.checkpoint import new_layout, read_checkpoint, write_checkpoint
from worker.engine.contract import Refused, TaskSpec
from worker.engine.networks import build_network
from worker.engine.randomness import derived_generator

SPECS = (TaskSpec("colour", "classification", 3),)
SHAPE = {"kind": "cnn", "input": [1, 8, 8], "channels": [4], "hidden": 8}
WEIGHT = "heads.colour.weight"


def network(seed: int = 0) -> nn.Module:
    return build_network(SHAPE, SPECS, derived_generator(seed, "network"))


def saved(path: Path, dtype: torch.dtype = torch.float32, **changes: Tensor | None) -> Path:
    tensors: dict[str, Any] = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in network().state_dict().items()
    }
    tensors |= {name.replace("__", "."): value for name, value in changes.items()}
    kept = {name: value for name, value in tensors.items() if value is not None}
    save_file(kept, path, metadata={"format": "pt", "made by": "somebody", "ünïcode": "yes"})
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_round_trip_is_byte_for_byte(tmp_path: Path, dtype: torch.dtype) -> None:
    path = saved(tmp_path / "in.safetensors", dtype)
    loaded = network(1)
    layout = read_checkpoint(path, loaded)
    assert layout.metadata == {"format": "pt", "made by": "somebody", "ünïcode": "yes"}
    assert all(value.dtype in (torch.float32, torch.int64) for value in loaded.state_dict().values())
    write_checkpoint(tmp_path / "out.safetensors", loaded, layout)
    assert (tmp_path / "out.safetensors").read_bytes() == path.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_tensors_that_did_not_change_keep_their_bits_and_others_their_dtype(tmp_path: Path) -> None:
    path = saved(tmp_path / "in.safetensors", torch.bfloat16)
    loaded = network(1)
    layout = read_checkpoint(path, loaded)
    with torch.no_grad():
        loaded.state_dict()[WEIGHT].add_(1)
    write_checkpoint(tmp_path / "out.safetensors", loaded, layout)
    before, after = load_file(path), load_file(tmp_path / "out.safetensors")
    assert {name for name in before if not torch.equal(before[name], after[name])} == {WEIGHT}
    assert after[WEIGHT].dtype == torch.bfloat16


def test_a_new_layout_is_a_safetensors_file_with_one_digest(tmp_path: Path) -> None:
    first = network()
    for name in ("one", "two"):
        write_checkpoint(tmp_path / name, first, new_layout(first, {"b": "1", "a": "2", "c": "3"}))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    stored = load_file(tmp_path / "one")
    assert all(torch.equal(stored[name], value) for name, value in first.state_dict().items())
    other = network(1)
    read_checkpoint(tmp_path / "one", other)
    assert all(torch.equal(other.state_dict()[name], value) for name, value in first.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"heads__colour__weight": None}, "checkpoint_tensor_missing"),
        ({"heads__size__weight": torch.zeros(1)}, "checkpoint_tensor_extra"),
        ({"heads__colour__weight": torch.zeros(4, 8)}, "checkpoint_shape_mismatch"),
        ({"heads__colour__weight": torch.zeros(3, 8, dtype=torch.float64)}, "checkpoint_dtype_unsupported"),
        ({"heads__colour__weight": torch.zeros(3, 8, dtype=torch.int64)}, "checkpoint_dtype_unsupported"),
        ({"heads__colour__weight": torch.full((3, 8), float("nan"))}, "checkpoint_not_finite"),
        ({"heads__colour__weight": torch.full((3, 8), float("-inf"))}, "checkpoint_not_finite"),
    ],
)
def test_wrong_tensors_are_refused_and_nothing_is_loaded(
    tmp_path: Path, changes: dict[str, Tensor | None], code: str
) -> None:
    target = network(1)
    with pytest.raises(Refused) as refused:
        read_checkpoint(saved(tmp_path / "file", **changes), target)
    assert refused.value.code == code
    assert all(
        torch.equal(value, target.state_dict()[name]) for name, value in network(1).state_dict().items()
    )


def header(entries: Any) -> bytes:
    content = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(content).to_bytes(8, "little") + content


def entry(start: int, end: int, shape: list[int]) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"PK\x03\x04 a pickle in a zip" * 10, id="another format"),
        pytest.param((1 << 40).to_bytes(8, "little") + b"{}", id="enormous header"),
        pytest.param(header(b"{no json"), id="no json"),
        pytest.param(header([1, 2]), id="a list"),
        pytest.param(header({"a": {"dtype": "F32"}}), id="fields missing"),
        pytest.param(header({"a": entry(4, 8, [1])}) + bytes(8), id="gap"),
        pytest.param(header({"a": entry(0, 4, [1]), "b": entry(2, 6, [1])}) + bytes(6), id="overlap"),
        pytest.param(header({"a": entry(0, 4, [1])}) + bytes(5), id="trailing bytes"),
        pytest.param(b"[" * 9 + b"[" * 8000, id="deep"),
    ],
)
def test_other_files_are_not_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(Refused) as refused:
        read_checkpoint(tmp_path / "file", network())
    assert refused.value.code == "checkpoint_not_safetensors"


def test_lengths_that_contradict_the_shape_are_not_safetensors(tmp_path: Path) -> None:
    lying = {
        name: entry(0, 0, list(value.shape)) | ({} if value.is_floating_point() else {"dtype": "I64"})
        for name, value in network().state_dict().items()
    }
    (tmp_path / "file").write_bytes(header(lying))
    with pytest.raises(Refused) as refused:
        read_checkpoint(tmp_path / "file", network())
    assert refused.value.code == "checkpoint_not_safetensors"


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
def test_torn_files_are_truncated(tmp_path: Path, kept: float) -> None:
    whole = saved(tmp_path / "whole").read_bytes()
    (tmp_path / "file").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(Refused) as refused:
        read_checkpoint(tmp_path / "file", network())
    assert refused.value.code == "checkpoint_truncated"


def test_values_that_overflow_the_stored_dtype_are_not_written(tmp_path: Path) -> None:
    loaded = network()
    layout = read_checkpoint(saved(tmp_path / "in", torch.float16), loaded)
    with torch.no_grad():
        loaded.state_dict()[WEIGHT].fill_(1e6)
    with pytest.raises(Refused) as refused:
        write_checkpoint(tmp_path / "out", loaded, layout)
    assert refused.value.code == "checkpoint_not_finite"
    assert not (tmp_path / "out").exists()
