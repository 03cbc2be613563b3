"""What an annotator writes down: the truth with noise that no image explains.

Regions are the visible parts of one solid (or of the floor, a wall, the ceiling). Training data and holdout
are annotated alike, so that what tells them apart is memory alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenes.classes import CLASSES, VOID
from benchmarks.scenes.raycast import Floats
from benchmarks.scenes.rendering import View


@dataclass(frozen=True)
class AnnotationNoise:
    """mislabelled, void, unmeasured: shares of regions. depth_scale: standard deviation of the logarithm, per
    image; depth_offset: likewise per region. tilt: standard deviation of a region's normals, radians."""

    mislabelled: float = 0.18
    void: float = 0.05
    unmeasured: float = 0.05
    depth_scale: float = 0.12
    depth_offset: float = 0.08
    tilt: float = 0.22


@dataclass(frozen=True)
class Annotation:
    """label (H, W), VOID where there is none. depth (H, W), 0 where there is none. normal (H, W, 3), unit."""

    label: NDArray[np.int64]
    depth: Floats
    normal: Floats


def annotate(view: View, noise: AnnotationNoise, generator: np.random.Generator) -> Annotation:
    """The view's targets as an annotator would have them."""
    label, depth, normal = view.label.copy(), view.depth.copy(), view.normal.copy()
    depth *= np.exp(generator.normal(0.0, noise.depth_scale))
    regions = view.solid * len(CLASSES) + view.label
    for region in np.unique(regions):
        mask = regions == region
        chance = generator.random()
        if chance < noise.mislabelled:
            label[mask] = generator.integers(0, len(CLASSES))
        elif chance < noise.mislabelled + noise.void:
            label[mask] = VOID
        depth[mask] *= np.exp(generator.normal(0.0, noise.depth_offset))
        if generator.random() < noise.unmeasured:
            depth[mask] = 0.0
        normal[mask] += generator.normal(0.0, noise.tilt, 3)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return Annotation(label, depth, normal)
