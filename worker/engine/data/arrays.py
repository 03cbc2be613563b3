"""The format "arrays": NumPy arrays in one `.npz` file, or in a folder of `.npy` files.

ids (N,) strings or integers; inputs (N, ...) numbers; one array per target, first dimension N. Missing
supervision is -1 for integers (classes), NaN for reals, or False in an optional `<target>_mask` (N,) bool.

Integer inputs of more than 8 bits are taken as they are (token ids), bytes become 0..1, all else float32.
Folders are memory-mapped, so inputs need not fit in memory; an `.npz` is read whole.
"""

import hashlib
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worker.engine.contract import Batch, Refused, TaskSpec
from worker.engine.data.description import Description, TargetDescription
from worker.engine.data.npy_files import UNREADABLE
from worker.engine.data.signs_of_life import alive
from worker.engine.tasks import kind_of

Array = np.ndarray[Any, Any]

MASK_SUFFIX = "_mask"
MAX_NAME = 128 + len(MASK_SUFFIX)
MAX_ARCHIVE_BYTES = 8 << 30
_CHUNK_ROWS = 4096
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class ArraysData:
    """`Data` over arrays: inputs stay where they are until fetched, targets are in memory."""

    def __init__(self, ids: list[str], inputs: Array, targets: Mapping[str, Tensor], present: Tensor) -> None:
        self._ids = ids
        self._inputs = inputs
        self._targets = dict(targets)
        self._present = present

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    @property
    def present(self) -> Tensor:
        return self._present

    def __len__(self) -> int:
        return len(self._ids)

    def fetch(self, rows: Tensor) -> Batch:
        targets = {name: values[rows] for name, values in self._targets.items()}
        return Batch(_as_inputs(self._inputs[rows.numpy()]), targets, self._present[rows])


def describe_arrays(path: Path) -> Description:
    """Check everything that can be checked without knowing the tasks, and fingerprint the contents.

    Raises `Refused`: data_unreadable, data_ids_repeat, data_lengths_disagree, data_not_finite.
    """
    arrays = _read(path)
    ids = _ids(arrays)
    _check_lengths(arrays, len(ids))
    _check_finite(arrays["inputs"])
    targets = {name: _describe_target(name, array, arrays) for name, array in _targets(arrays).items()}
    return Description(ids, targets, tuple(arrays["inputs"].shape[1:]), _fingerprint(path))


def open_arrays(path: Path, tasks: tuple[TaskSpec, ...]) -> ArraysData:
    """Open for the given tasks.

    Raises `Refused`: data_unreadable, data_ids_repeat, data_lengths_disagree, data_target_missing,
    data_target_invalid, data_not_finite (of targets).
    """
    arrays = _read(path)
    ids = _ids(arrays)
    _check_lengths(arrays, len(ids))
    found = _targets(arrays)
    targets: dict[str, Tensor] = {}
    columns: list[Tensor] = []
    for spec in tasks:
        alive()
        if spec.name not in found:
            raise Refused(
                "data_target_missing",
                f"The data has no array named {spec.name!r}, the target of that task; "
                f"it has {', '.join(sorted(found)) or 'no targets at all'}.",
            )
        values, present = kind_of(spec).read(np.asarray(found[spec.name]), spec)
        targets[spec.name] = values
        columns.append(present & _mask(spec.name, arrays))
    present = torch.stack(columns, dim=1) if columns else torch.zeros(len(ids), 0, dtype=torch.bool)
    return ArraysData(ids, arrays["inputs"], targets, present)


def _read(path: Path) -> dict[str, Array]:
    try:
        arrays = _read_folder(path) if path.is_dir() else _read_archive(path)
    except UNREADABLE as error:
        raise Refused(
            "data_unreadable",
            f"The data is neither an .npz file nor a folder of .npy files that NumPy can read without "
            f"pickle: {type(error).__name__}.",
        ) from error
    if any(len(name) > MAX_NAME or any(map(_is_strange, name)) for name in arrays):
        raise Refused(
            "data_unreadable",
            f"The name of an array has more than {MAX_NAME} characters, or some that are no text.",
        )
    for name in ("ids", "inputs"):
        if name not in arrays:
            raise Refused("data_unreadable", f"The data has no array named {name!r}.")
        if arrays[name].ndim == 0:
            raise Refused("data_unreadable", f"The array {name!r} is a single value, not one per instance.")
    if arrays["inputs"].dtype.kind not in "fiub":
        raise Refused("data_unreadable", f"The inputs must be numbers, not {arrays['inputs'].dtype}.")
    return arrays


def _is_strange(character: str) -> bool:
    """What no database and no message takes."""
    return character == "\0" or "\ud800" <= character <= "\udfff"


def _read_folder(path: Path) -> dict[str, Array]:
    files = sorted(path.glob("*.npy"))
    return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in files}


def _read_archive(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        for entry in archive.infolist():
            _check_promise(archive, entry)
    if size > MAX_ARCHIVE_BYTES:
        raise Refused(
            "data_unreadable",
            f"The .npz file unpacks to {size} bytes, more than {MAX_ARCHIVE_BYTES}; "
            "use a folder of .npy files, which is read without loading it whole.",
        )
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _check_promise(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """NumPy makes room for what a header promises before it reads: no more than there is.

    Raises `ValueError`, also for what is no array."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError("an array in a format that plain numbers and strings do not need")
        shape, _, dtype = _HEADERS[version](file)
    if dtype.itemsize * math.prod(shape) > entry.file_size:
        raise ValueError("a header that promises more than there is")


def _ids(arrays: Mapping[str, Array]) -> list[str]:
    stored = np.asarray(arrays["ids"])
    if stored.ndim != 1 or stored.dtype.kind not in "USiu" or len(stored) == 0:
        raise Refused("data_unreadable", "The array 'ids' must hold one string or integer per instance.")
    try:
        ids = [item.decode() if isinstance(item, bytes) else str(item) for item in stored.tolist()]
    except UnicodeDecodeError as error:
        raise Refused("data_unreadable", "The array 'ids' holds bytes that are not UTF-8.") from error
    if "" in ids:
        raise Refused("data_unreadable", f"The id at position {ids.index('')} is empty.")
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        repeats = [position for position, id_ in enumerate(ids) if id_ in seen or seen.add(id_)]  # type: ignore[func-returns-value]
        raise Refused(
            "data_ids_repeat",
            f"{len(repeats)} ids repeat an earlier one, the first at position {repeats[0]}; "
            "every instance needs an id of its own.",
        )
    return ids


def _targets(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {
        name: array
        for name, array in arrays.items()
        if name not in ("ids", "inputs")
        and not (name.endswith(MASK_SUFFIX) and name.removesuffix(MASK_SUFFIX) in arrays)
    }


def _mask(target: str, arrays: Mapping[str, Array]) -> Tensor:
    """(N,) bool: the target's mask array, or all True."""
    mask = arrays.get(target + MASK_SUFFIX)
    if mask is None:
        return torch.ones(len(arrays["ids"]), dtype=torch.bool)
    if mask.ndim != 1 or mask.dtype.kind != "b":
        raise Refused(
            "data_target_invalid",
            f"The mask {target + MASK_SUFFIX!r} must be a one-dimensional array of booleans, "
            f"not {mask.dtype}.",
        )
    return torch.from_numpy(np.array(mask))


def _check_lengths(arrays: Mapping[str, Array], instances: int) -> None:
    wrong = {
        name: array.shape for name, array in arrays.items() if array.ndim == 0 or len(array) != instances
    }
    if wrong:
        raise Refused(
            "data_lengths_disagree",
            f"There are {instances} ids, but these arrays do not have that many rows: "
            + ", ".join(f"{name} {shape}" for name, shape in sorted(wrong.items()))
            + ".",
        )


def _check_finite(inputs: Array) -> None:
    if inputs.dtype.kind != "f":
        return
    for start in range(0, len(inputs), _CHUNK_ROWS):
        alive()
        chunk = np.asarray(inputs[start : start + _CHUNK_ROWS])
        finite = np.isfinite(chunk).reshape(len(chunk), -1).all(axis=1)
        if not finite.all():
            raise Refused(
                "data_not_finite",
                "The inputs hold NaN or infinite numbers, the first at position "
                f"{start + int(np.argmin(finite))}.",
            )


def _describe_target(name: str, array: Array, arrays: Mapping[str, Array]) -> TargetDescription:
    alive()
    values = np.asarray(array)
    integers = values.dtype.kind in "iu"
    if not integers and values.dtype.kind != "f":
        raise Refused(
            "data_target_invalid", f"Target {name!r} holds {values.dtype}, neither integers nor reals."
        )
    missing = values == -1 if integers else np.isnan(values)
    flat = missing.reshape(len(values), -1)
    dense = values.ndim >= 3  # one target per pixel: some may be missing
    present = torch.from_numpy(~(flat.all(axis=1) if dense else flat.any(axis=1))) & _mask(name, arrays)
    alive()
    kept = values[present.numpy()]
    if dense:
        kept = kept[~missing[present.numpy()]]
    return TargetDescription(
        present=present,
        values="integers" if integers else "reals",
        shape=tuple(values.shape[1:]),
        lowest=float(kept.min()) if kept.size else None,
        highest=float(kept.max()) if kept.size else None,
    )


def _as_inputs(values: Array) -> Tensor:
    """A writable copy (fancy indexing made one) in the type that networks take."""
    if values.dtype == np.uint8:
        return torch.from_numpy(values).to(torch.float32) / 255
    if values.dtype.kind in "iu":
        return torch.from_numpy(values.astype(np.int64))
    return torch.from_numpy(values.astype(np.float32, copy=False))


def _fingerprint(path: Path) -> str:
    """SHA-256 over each file's name, size and bytes, in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(path.glob("*.npy")) if path.is_dir() else [path]:
        name = file.name if path.is_dir() else "arrays.npz"
        digest.update(f"{name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                alive()
                digest.update(block)
    return digest.hexdigest()
