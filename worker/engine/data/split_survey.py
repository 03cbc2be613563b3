"""Registration of a split folder: what it holds, whether it can be read, and what its contents were.

Up to `WHOLE_BYTES` every value is checked and every byte goes into the fingerprint. Beyond, reading it
all would take hours for nothing that is not checked again when it is fetched: every file's name, size,
type and shape are still looked at, but only `SAMPLE` evenly spaced instances have their values checked, and
of each file only its first, middle and last 16 KiB are fingerprinted. A change elsewhere in such a file
that keeps its size is not noticed. The fingerprint says which of the two it is.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from worker.engine.contract import Refused
from worker.engine.data.description import Description, TargetDescription
from worker.engine.data.npy_files import Array
from worker.engine.data.signs_of_life import alive
from worker.engine.data.split_folder import IMAGES, LABELS, MASK_SUFFIX, SplitFolder, valid_pixels

WHOLE_BYTES = 8 << 30
SAMPLE = 2048
_BLOCK = 16 << 10


@dataclass
class _Seen:
    """What the files of one folder had in common, and the range of their valid values."""

    shape: tuple[int, ...] | None = None
    integers: bool = True
    lowest: float = field(default=float("inf"))
    highest: float = field(default=float("-inf"))


def survey(
    split: SplitFolder,
    folders: Mapping[str, str],
    present: Mapping[str, Tensor],
    classes: Mapping[str, int],
) -> Description:
    """folders: target → folder. present: target → (N,). classes: folder → number of classes, where known.

    Raises `Refused`: data_unreadable, data_lengths_disagree, data_target_invalid, data_not_finite.
    """
    count = len(split.ids)
    there: dict[str, Tensor | None] = {IMAGES: None}
    there |= {folder: present[target] for target, folder in folders.items()}
    sizes = {folder: _sizes(split, folder, mask) for folder, mask in there.items()}
    whole = sum(sum(of_folder.values()) for of_folder in sizes.values()) <= WHOLE_BYTES
    checked = (
        set(range(count)) if whole else set(np.linspace(0, count - 1, SAMPLE).round().astype(int).tolist())
    )
    digest = hashlib.sha256(b"whole" if whole else b"sampled")
    seen = {folder: _Seen() for folder in there}
    for folder, of_folder in sizes.items():
        for row, size in of_folder.items():
            alive()
            digest.update(f"\0{folder}\0{split.stems[row]}\0{size}\0".encode())
            _digest_file(digest, split.file(folder, row), size, whole)
            array = split.read(folder, row)
            _check_shape(folder, row, array, seen[folder], seen[IMAGES])
            if row in checked:
                _check_values(folder, row, array, seen[folder], classes.get(folder))
        mask = split.path / (folder + MASK_SUFFIX)
        if mask.is_file():
            digest.update(mask.read_bytes())
    return Description(
        ids=split.ids,
        targets={
            target: _describe(seen[folder], folder, present[target]) for target, folder in folders.items()
        },
        input_shape=_first_channels(seen[IMAGES].shape),
        fingerprint=digest.hexdigest(),
    )


def _sizes(split: SplitFolder, folder: str, mask: Tensor | None) -> dict[int, int]:
    """Bytes of each file there is, by row, files without a valid pixel included."""
    sizes = {}
    for row in range(len(split.ids)):
        alive()
        try:
            sizes[row] = split.file(folder, row).stat().st_size
        except OSError as error:
            if mask is None or bool(mask[row]):
                raise Refused(
                    "data_unreadable", f"A file of {folder!r} vanished while it was read."
                ) from error
    return sizes


def _digest_file(digest: "hashlib._Hash", path: Path, size: int, whole: bool) -> None:
    try:
        with path.open("rb") as stream:
            if whole or size <= 3 * _BLOCK:
                while block := stream.read(1 << 20):
                    alive()
                    digest.update(block)
                return
            for start in (0, (size - _BLOCK) // 2, size - _BLOCK):
                stream.seek(start)
                digest.update(stream.read(_BLOCK))
    except OSError as error:
        raise Refused("data_unreadable", f"A file cannot be read: {type(error).__name__}.") from error


def _check_shape(folder: str, row: int, array: Array, seen: _Seen, images: _Seen) -> None:
    """Images are (H, W, 3); labels (H, W); other targets (H, W) or (H, W, channels): all on one grid."""
    dimensions = {IMAGES: (3,)}.get(folder, (2,) if folder.startswith(LABELS) else (2, 3))
    wrong = array.ndim not in dimensions or 0 in array.shape or (folder == IMAGES and array.shape[2] != 3)
    if wrong or (images.shape is not None and array.shape[:2] != images.shape[:2]):
        grid = "H, W" if images.shape is None else f"{images.shape[0]}, {images.shape[1]}"
        expected = f"({grid}, 3)" if folder == IMAGES else f"({grid})"
        if 3 in dimensions and folder != IMAGES:
            expected += f" or ({grid}, channels)"
        raise Refused(
            "data_lengths_disagree",
            f"The array of {folder!r} at position {row} has shape {array.shape}; it should be {expected}, "
            "on the grid of the images.",
        )
    if seen.shape is not None and array.shape != seen.shape:
        raise Refused(
            "data_lengths_disagree",
            f"The array of {folder!r} at position {row} has shape {array.shape}, "
            f"those before it {seen.shape}.",
        )
    seen.shape = array.shape
    seen.integers = seen.integers and array.dtype.kind in "iu"


def _check_values(folder: str, row: int, array: Array, seen: _Seen, classes: int | None) -> None:
    values = np.asarray(array)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Refused(
            "data_not_finite", f"The array of {folder!r} at position {row} holds NaN or infinite numbers."
        )
    kept = values[valid_pixels(values, folder)]
    if kept.size == 0:
        return
    low, high = float(kept.min()), float(kept.max())
    seen.lowest, seen.highest = min(seen.lowest, low), max(seen.highest, high)
    if not folder.startswith(LABELS):
        return
    if low < 0 or (classes is not None and high >= classes) or bool((kept != np.trunc(kept)).any()):
        expected = "whole numbers from 0" if classes is None else f"0..{classes - 1}"
        raise Refused(
            "data_target_invalid",
            f"The labels of {folder!r} at position {row} go from {low:g} to {high:g}; "
            f"they must be {expected}, or -1 where there is none.",
        )


def _describe(seen: _Seen, folder: str, present: Tensor) -> TargetDescription:
    labels = folder.startswith(LABELS)
    return TargetDescription(
        present=present,
        values="integers" if labels or seen.integers else "reals",
        shape=seen.shape[:2] if labels and seen.shape else _first_channels(seen.shape),
        lowest=None if seen.lowest > seen.highest else seen.lowest,
        highest=None if seen.lowest > seen.highest else seen.highest,
    )


def _first_channels(shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """(H, W, channels) → (channels, H, W), as networks see it; (H, W) → (1, H, W)."""
    if shape is None:
        return ()
    return (shape[2] if len(shape) == 3 else 1, *shape[:2])
