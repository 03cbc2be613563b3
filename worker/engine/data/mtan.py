"""The formats "nyuv2" and "cityscapes": one folder per array and one `.npy` file per instance.

The layout that MTAN (Liu et al. 2019) published its preprocessed data in, and that LibMTL reads:

    train/image/0.npy   (H, W, 3) reals, taken as they are, or bytes, which become 0..1
    train/label/0.npy   (H, W) classes, −1 ignored; for Cityscapes also label_7, label_19
    train/depth/0.npy   (H, W, 1) or (H, W), 0 where unmeasured; for Cityscapes, inverse depth
    train/normal/0.npy  (H, W, 3), zeros where unknown; NYUv2 only

A data set is one split folder (`…/train`), and its holdout the folder beside it (`…/val`).

Names. Targets are called `segmentation`, `depth` and `normal`, as LibMTL calls its tasks; further folders
of arrays are targets by their own name. The files of `image` are the instances. A file name that is a bare
number is a position in its split, so the split's name is part of the id (`train/17`); any other name is
the id itself.

Supervision. A target file that is not there is supervision that is not there, and so is one in which no
pixel is valid. To know the latter, files are mapped and read from the middle row on until a valid pixel
appears: a page or two per file, however large it is. For a million instances listing the names takes
seconds, but this scan minutes per target; where a file `<folder>_mask.npy` lies beside a target's
folder, (N,) bool in the order of the ids, it is believed instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worker.engine.contract import Batch, Refused, TaskSpec
from worker.engine.data.description import Description
from worker.engine.data.npy_files import Array
from worker.engine.data.split_folder import (
    IMAGES,
    LABELS,
    SplitFolder,
    find_supervision,
    list_split,
    target_folders,
)
from worker.engine.data.split_survey import survey
from worker.engine.tasks import kind_of


@dataclass(frozen=True)
class Layout:
    """labels: folders that may be `segmentation`; the first that exists is. classes: per such folder."""

    labels: tuple[str, ...]
    classes: Mapping[str, int]


NYUV2 = Layout(("label",), {"label": 13})
CITYSCAPES = Layout(("label_7", "label"), {"label_7": 7, "label": 7, "label_19": 19})


class MtanData:
    """`Data` over a split folder. Ids and masks are in memory; every fetch reads its instances' files."""

    def __init__(
        self, split: SplitFolder, tasks: tuple[TaskSpec, ...], folders: Mapping[str, str], present: Tensor
    ) -> None:
        self._split = split
        self._tasks = tasks
        self._folders = dict(folders)
        self._present = present

    @property
    def ids(self) -> Sequence[str]:
        return self._split.ids

    @property
    def present(self) -> Tensor:
        return self._present

    def __len__(self) -> int:
        return len(self._split.ids)

    def fetch(self, rows: Tensor) -> Batch:
        """Raises `Refused`: data_unreadable, data_lengths_disagree, data_target_invalid, data_not_finite."""
        images = self._stack(IMAGES, [self._split.read(IMAGES, row) for row in rows.tolist()])
        if images.ndim != 4 or images.shape[3] != 3:
            raise Refused("data_lengths_disagree", f"Images are (H, W, 3), not {images.shape[1:]}.")
        present = self._present[rows]
        grid = images.shape[1:3]
        targets = {
            spec.name: self._target(spec, rows, present[:, column], grid)
            for column, spec in enumerate(self._tasks)
        }
        return Batch(_as_inputs(images), targets, present)

    def _target(self, spec: TaskSpec, rows: Tensor, present: Tensor, grid: tuple[int, ...]) -> Tensor:
        """As the task's kind reads it; where there is no supervision, every pixel is an invalid one."""
        folder = self._folders[spec.name]
        missing = -1 if folder.startswith(LABELS) else 0
        found = [self._split.read(folder, row) for row in rows[present].tolist()]
        tail = found[0].shape[2:] if found else _usual_tail(spec, folder)
        arrays = np.full((len(rows), *grid, *tail), missing, dtype=found[0].dtype if found else np.float32)
        if found:
            stacked = self._stack(folder, found)
            if stacked.shape[1:] != arrays.shape[1:]:
                raise _shapes_differ(folder)
            arrays[present.numpy()] = stacked
        arrays = np.moveaxis(arrays, 3, 1) if arrays.ndim == 4 else arrays
        values, _ = kind_of(spec).read(arrays, spec)
        return values

    def _stack(self, folder: str, arrays: list[Array]) -> Array:
        if len({array.shape for array in arrays}) > 1:
            raise _shapes_differ(folder)
        return np.stack(arrays) if arrays else np.zeros((0, 1, 1, 3), dtype=np.float32)


def describe_mtan(path: Path, layout: Layout) -> Description:
    """Check the folder without knowing its tasks, and fingerprint it: `split_survey` says how thoroughly.

    Raises `Refused`: data_unreadable, data_lengths_disagree, data_target_invalid, data_not_finite.
    """
    split = list_split(path)
    folders = _targets(split, layout)
    present = {target: find_supervision(split, folder) for target, folder in folders.items()}
    return survey(split, folders, present, layout.classes)


def open_mtan(path: Path, tasks: tuple[TaskSpec, ...], layout: Layout) -> MtanData:
    """Open for the given tasks.

    Raises `Refused`: data_unreadable, data_target_missing, data_lengths_disagree, data_target_invalid.
    """
    split = list_split(path)
    found = _targets(split, layout)
    for spec in tasks:
        if spec.name not in found:
            raise Refused(
                "data_target_missing",
                f"The data has no target named {spec.name!r}; it has "
                f"{', '.join(sorted(found)) or 'no targets at all'}.",
            )
    columns = [find_supervision(split, found[spec.name]) for spec in tasks]
    nothing = torch.zeros(len(split.ids), 0, dtype=torch.bool)
    return MtanData(split, tasks, found, torch.stack(columns, dim=1) if columns else nothing)


describe_nyuv2 = partial(describe_mtan, layout=NYUV2)
describe_cityscapes = partial(describe_mtan, layout=CITYSCAPES)
open_nyuv2 = partial(open_mtan, layout=NYUV2)
open_cityscapes = partial(open_mtan, layout=CITYSCAPES)


def _targets(split: SplitFolder, layout: Layout) -> dict[str, str]:
    """Target → folder."""
    folders = target_folders(split)
    labels = next((name for name in layout.labels if name in folders), None)
    named = {folder: folder for folder in folders if folder not in ("segmentation", labels)}
    return named if labels is None else {"segmentation": labels, **named}


def _usual_tail(spec: TaskSpec, folder: str) -> tuple[int, ...]:
    """Trailing dimensions of a batch in which nobody has the target."""
    return () if folder.startswith(LABELS) else (spec.outputs,)


def _as_inputs(images: Array) -> Tensor:
    """(B, H, W, 3) → (B, 3, H, W) float32. Raises `Refused("data_not_finite")`."""
    values = np.array(np.moveaxis(images, 3, 1), dtype=np.float32, order="C")
    if images.dtype == np.uint8:
        values /= 255
    if not np.isfinite(values).all():
        raise Refused("data_not_finite", "An image holds NaN or infinite numbers.")
    return torch.from_numpy(values)


def _shapes_differ(folder: str) -> Refused:
    return Refused("data_lengths_disagree", f"The files of {folder!r} are not all of one shape.")
