"""Write rendered rooms in the layout of MTAN's NYUv2, which LibMTL shares.

`train|val/image|label|depth|normal/{i}.npy`: image (H, W, 3) 0..1, label (H, W) with -1 for void, depth
(H, W, 1) with 0 for unmeasured, normal (H, W, 3). Beside it, `train|val/style.npy`: (N,) the clusters.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.scenes.annotation import AnnotationNoise, annotate
from benchmarks.scenes.arrangement import furnish
from benchmarks.scenes.rendering import render
from benchmarks.scenes.styles import STYLES, make_styles


@dataclass(frozen=True)
class ScenesPlan:
    """How many rooms, of which size in pixels, in how many styles."""

    train: int = 400
    val: int = 200
    height: int = 24
    width: int = 32
    styles: int = STYLES
    noise: AnnotationNoise = field(default_factory=AnnotationNoise)


def write_scenes(folder: Path, plan: ScenesPlan, seed: int) -> Path:
    """Render and write everything; the same files for the same plan and seed. Returns the folder."""
    styles = make_styles(seed, plan.styles)
    for number, (split, count) in enumerate((("train", plan.train), ("val", plan.val))):
        generator = np.random.default_rng([seed, 2, number])
        chosen = generator.permutation(np.arange(count) % plan.styles)
        for kind in ("image", "label", "depth", "normal"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
        for index, style in enumerate(chosen):
            room = furnish(styles[style], generator)
            view = render(styles[style], room, plan.height, plan.width, generator)
            seen = annotate(view, plan.noise, generator)
            arrays = {
                "image": view.image.astype(np.float32),
                "label": seen.label.astype(np.float32),
                "depth": seen.depth[..., None].astype(np.float32),
                "normal": seen.normal.astype(np.float32),
            }
            for kind, array in arrays.items():
                np.save(folder / split / kind / f"{index}.npy", array)
        np.save(folder / split / "style.npy", chosen.astype(np.int64))
    return folder
