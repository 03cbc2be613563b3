"""A split folder: instances are the files of its folder `image`, targets are the folders beside it.

N instances, on a grid of H x W pixels that all share.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worker.engine.contract import Refused
from worker.engine.data.npy_files import Array, read_array
from worker.engine.data.signs_of_life import alive

IMAGES = "image"
LABELS = "label"
MASK_SUFFIX = "_mask.npy"
MAX_ID_LENGTH = 256
_SUFFIX = ".npy"


@dataclass(frozen=True)
class SplitFolder:
    """stems: names of the files of `image` without their suffix, in row order. ids: what they are called."""

    path: Path
    stems: list[str]
    ids: list[str]

    def file(self, folder: str, row: int) -> Path:
        return self.path / folder / (self.stems[row] + _SUFFIX)

    def read(self, folder: str, row: int) -> Array:
        """One instance's array, mapped. Raises `Refused("data_unreadable")`."""
        return read_array(self.file(folder, row), f"The file of {folder!r} at position {row}")


def list_split(path: Path) -> SplitFolder:
    """Names only: no file is opened. Bare numbers come first, in their order, and then the other names.

    Raises `Refused("data_unreadable")`.
    """
    stems = sorted(_stems(path / IMAGES), key=_natural)
    if not stems:
        raise Refused(
            "data_unreadable",
            f"The data has no folder {IMAGES!r} with .npy files in it. Its URL must name the folder of "
            "a split, such as …/train.",
        )
    split = path.resolve().name
    ids = [f"{split}/{stem}" if _is_number(stem) else stem for stem in stems]
    too_long = [row for row, id_ in enumerate(ids) if len(id_) > MAX_ID_LENGTH]
    if too_long:
        raise Refused(
            "data_unreadable", f"The id at position {too_long[0]} is longer than {MAX_ID_LENGTH} characters."
        )
    return SplitFolder(path, stems, ids)


def target_folders(split: SplitFolder) -> list[str]:
    """Folders with arrays other than the images, sorted."""
    with os.scandir(split.path) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and entry.name != IMAGES]
    return sorted(name for name in names if _stems(split.path / name))


def files_there(split: SplitFolder, folder: str) -> Tensor:
    """(N,) bool. Raises `Refused("data_lengths_disagree")` for target files that belong to no image."""
    stems = _stems(split.path / folder)
    orphans = len(stems - set(split.stems))
    if orphans:
        raise Refused(
            "data_lengths_disagree",
            f"The folder {folder!r} has {orphans} files without an image of the same name.",
        )
    return torch.tensor([stem in stems for stem in split.stems], dtype=torch.bool)


def find_supervision(split: SplitFolder, folder: str) -> Tensor:
    """(N,) bool: the file is there and has a valid pixel, or the mask file says so.

    Raises `Refused`: data_lengths_disagree, data_unreadable, data_target_invalid.
    """
    present = files_there(split, folder)
    mask = split.path / (folder + MASK_SUFFIX)
    if mask.is_file():
        return present & _believed(mask, folder, len(split.ids))
    for row in present.nonzero().flatten().tolist():
        alive()
        present[row] = has_valid_pixel(split.read(folder, row), folder)
    return present


def valid_pixels(values: Array, folder: str) -> Array:
    """Which values count as supervision: labels other than −1, and other numbers than 0."""
    valid: Array = values != (-1 if folder.startswith(LABELS) else 0)
    return valid


def has_valid_pixel(array: Array, folder: str) -> bool:
    """Row by row, from the middle (the edges of photographs are often unlabelled), until one is found."""
    middle = len(array) // 2
    rows = [*range(middle, len(array)), *range(middle)]
    return any(bool(valid_pixels(np.asarray(array[row]), folder).any()) for row in rows)


def _believed(mask: Path, folder: str, instances: int) -> Tensor:
    values = read_array(mask, f"The mask {mask.name!r}", kinds="b")
    if values.shape != (instances,):
        raise Refused(
            "data_target_invalid",
            f"The mask {mask.name!r} must hold {instances} booleans, one per instance of {folder!r}.",
        )
    return torch.from_numpy(np.array(values))


def _stems(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {
            entry.name.removesuffix(_SUFFIX)
            for entry in entries
            if entry.name.endswith(_SUFFIX) and not entry.name.startswith(".") and entry.is_file()
        }


def _is_number(stem: str) -> bool:
    return stem.isascii() and stem.isdigit()


def _natural(stem: str) -> tuple[bool, int, str]:
    return (False, int(stem), stem) if _is_number(stem) else (True, 0, stem)
