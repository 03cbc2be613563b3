"""A contact sheet: per room its image, labels, depth and normals, to be looked at."""

from pathlib import Path

import numpy as np

from benchmarks.scenes.classes import CLASSES


def write_contact_sheet(folder: Path, file: Path, rooms: int = 10, split: str = "train") -> None:
    """folder: as `write_scenes` left it. Rooms are taken evenly from those of the split, ordered by style."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    styles = np.load(folder / split / "style.npy")
    ordered = np.argsort(styles, kind="stable")
    chosen = ordered[np.linspace(0, len(ordered) - 1, rooms).round().astype(int)]
    figure = Figure(figsize=(9, 1.6 * rooms), layout="constrained")
    axes = figure.subplots(rooms, 4, squeeze=False)
    palette = colormaps["tab10"].resampled(len(CLASSES))
    for row, index in zip(axes, chosen, strict=True):
        image, label, depth, normal = (
            np.load(folder / split / kind / f"{index}.npy") for kind in ("image", "label", "depth", "normal")
        )
        row[0].imshow(image)
        row[1].imshow(np.ma.masked_less(label, 0), cmap=palette, vmin=-0.5, vmax=len(CLASSES) - 0.5)
        row[2].imshow(np.ma.masked_equal(depth[..., 0], 0), cmap="viridis", vmin=0, vmax=7)
        row[3].imshow((normal + 1) / 2)
        row[0].set_ylabel(f"style {styles[index]}")
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, title in zip(axes[0], ("image", "label", "depth", "normal"), strict=True):
        axis.set_title(title)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
