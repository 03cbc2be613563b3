"""Small folders in the layout that MTAN published and LibMTL reads, with random contents."""

from pathlib import Path

import numpy as np

HEIGHT, WIDTH = 12, 16
Grid = tuple[int, int]


def write_nyuv2(
    split: Path, instances: int = 11, seed: int = 0, size: Grid = (HEIGHT, WIDTH)
) -> dict[str, np.ndarray]:
    """As MTAN published it: float arrays, channels last, files 0.npy, 1.npy, …"""
    generator = np.random.default_rng(seed)
    grid = (instances, *size)
    hidden = generator.random(grid) < 0.2
    normal = generator.normal(size=(*grid, 3))
    normal /= np.linalg.norm(normal, axis=3, keepdims=True)
    arrays = {
        "image": generator.random((*grid, 3)).astype(np.float32),
        "label": np.where(hidden, -1, generator.integers(0, 13, grid)).astype(np.float32),
        "depth": np.where(hidden, 0, generator.uniform(0.5, 9, grid))[..., None].astype(np.float32),
        "normal": np.where(hidden[..., None], 0, normal).astype(np.float32),
    }
    write(split, arrays)
    return arrays


def write_cityscapes(
    split: Path, instances: int = 6, labels: str = "label_7", size: Grid = (HEIGHT, WIDTH)
) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    grid = (instances, *size)
    arrays = {
        "image": generator.random((*grid, 3)),
        labels: generator.integers(-1, 7, grid).astype(np.float64),
        "depth": generator.uniform(0, 0.4, (*grid, 1)) * (generator.random((*grid, 1)) < 0.8),
    }
    write(split, arrays)
    return arrays


def write(split: Path, arrays: dict[str, np.ndarray]) -> None:
    for folder, values in arrays.items():
        (split / folder).mkdir(parents=True)
        for row, value in enumerate(values):
            np.save(split / folder / f"{row}.npy", value)
