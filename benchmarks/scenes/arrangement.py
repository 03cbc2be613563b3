"""Furnish one room in a style."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenes.classes import NUMBER
from benchmarks.scenes.raycast import Solid
from benchmarks.scenes.styles import Style

Place = tuple[float, float, float]


@dataclass(frozen=True)
class Room:
    """corners: (2, 3) lowest and highest. eye: (3,). yaw, pitch: of the camera, radians. light: (3,)."""

    corners: NDArray[np.float64]
    solids: tuple[Solid, ...]
    eye: NDArray[np.float64]
    yaw: float
    pitch: float
    light: NDArray[np.float64]


def furnish(style: Style, generator: np.random.Generator) -> Room:
    """A room of the style's size with some of its furniture, seen from near the front wall."""
    width, height, depth = (side * generator.uniform(0.9, 1.1) for side in style.room)
    corners = np.array([[-width / 2, 0.0, 0.0], [width / 2, height, depth]])
    solids: list[Solid] = []
    spots = _spots(width, depth, generator)
    for name in style.furniture:
        if generator.random() < 0.2:
            continue
        if name == "picture":
            solids.append(_picture(width, height, depth, generator))
            continue
        x, z = spots.pop()
        place = (x, z, float(generator.uniform(-0.5, 0.5)))
        solids.extend(BUILDERS[name](place, generator))
    light = corners[0] + np.array(style.light) * (corners[1] - corners[0])
    eye = np.array([generator.uniform(-0.3, 0.3) * width, style.height, 0.15])
    return Room(
        corners,
        tuple(solids),
        eye,
        yaw=float(-eye[0] / depth + generator.uniform(-0.2, 0.2)),
        pitch=style.pitch + float(generator.uniform(-0.05, 0.05)),
        light=light,
    )


def _spots(width: float, depth: float, generator: np.random.Generator) -> list[tuple[float, float]]:
    """Places on the floor in a jittered grid, shuffled."""
    spots = [
        (x * width + generator.uniform(-0.15, 0.15), z * depth + generator.uniform(-0.15, 0.15))
        for x in (-0.3, 0.0, 0.3)
        for z in (0.45, 0.65, 0.85)
    ]
    return [spots[index] for index in generator.permutation(len(spots))]


def _bed(place: Place, generator: np.random.Generator) -> list[Solid]:
    x, z, turn = place
    half = (generator.uniform(0.5, 0.8), generator.uniform(0.18, 0.28), generator.uniform(0.7, 1.0))
    pillow = (half[0] * 0.6, 0.07, 0.16)
    head = (x + np.sin(turn) * half[2] * 0.7, 2 * half[1] + 0.07, z + np.cos(turn) * half[2] * 0.7)
    return [
        Solid(NUMBER["bed"], (x, half[1], z), half, turn),
        Solid(NUMBER["bed"], head, pillow, turn, shade=1.25),
    ]


def _cabinet(place: Place, generator: np.random.Generator) -> list[Solid]:
    x, z, turn = place
    half = (generator.uniform(0.3, 0.55), generator.uniform(0.6, 1.05), generator.uniform(0.2, 0.3))
    return [Solid(NUMBER["cabinet"], (x, half[1], z), half, turn)]


def _table(place: Place, generator: np.random.Generator) -> list[Solid]:
    x, z, turn = place
    wide, deep, tall = (
        generator.uniform(0.45, 0.75),
        generator.uniform(0.35, 0.5),
        generator.uniform(0.6, 0.8),
    )
    top = Solid(NUMBER["table"], (x, tall, z), (wide, 0.05, deep), turn)
    return [top, *_legs(NUMBER["table"], place, wide - 0.06, deep - 0.06, tall, 0.05)]


def _chair(place: Place, generator: np.random.Generator) -> list[Solid]:
    x, z, turn = place
    wide, tall = generator.uniform(0.22, 0.3), generator.uniform(0.4, 0.5)
    back = (x + np.sin(turn) * wide, tall + 0.3, z + np.cos(turn) * wide)
    return [
        Solid(NUMBER["chair"], (x, tall, z), (wide, 0.05, wide), turn),
        Solid(NUMBER["chair"], back, (wide, 0.3, 0.04), turn),
        *_legs(NUMBER["chair"], place, wide - 0.05, wide - 0.05, tall, 0.04),
    ]


def _lamp(place: Place, generator: np.random.Generator) -> list[Solid]:
    x, z, _ = place
    radius, tall = generator.uniform(0.16, 0.28), generator.uniform(0.9, 1.5)
    return [
        Solid(NUMBER["lamp"], (x, tall / 2, z), (0.04, tall / 2, 0.04), shade=0.6),
        Solid(NUMBER["lamp"], (x, tall + radius * 0.8, z), (radius, radius, radius), ball=True, shade=1.2),
    ]


def _rug(place: Place, generator: np.random.Generator) -> list[Solid]:
    x, z, turn = place
    half = (generator.uniform(0.6, 1.1), 0.01, generator.uniform(0.5, 0.9))
    return [Solid(NUMBER["rug"], (x * 0.5, 0.01, z * 0.8), half, turn)]


def _picture(width: float, height: float, depth: float, generator: np.random.Generator) -> Solid:
    half = (generator.uniform(0.3, 0.6), generator.uniform(0.25, 0.45), 0.02)
    x = generator.uniform(-0.35, 0.35) * width
    return Solid(NUMBER["picture"], (x, height * generator.uniform(0.55, 0.65), depth - 0.02), half)


def _legs(label: int, place: Place, wide: float, deep: float, tall: float, thick: float) -> list[Solid]:
    x, z, turn = place
    corners = [(a * wide, b * deep) for a in (-1, 1) for b in (-1, 1)]
    return [
        Solid(
            label,
            (x + a * np.cos(turn) + b * np.sin(turn), tall / 2, z - a * np.sin(turn) + b * np.cos(turn)),
            (thick, tall / 2, thick),
            turn,
            shade=0.8,
        )
        for a, b in corners
    ]


BUILDERS: dict[str, Callable[[Place, np.random.Generator], list[Solid]]] = {
    "bed": _bed,
    "cabinet": _cabinet,
    "table": _table,
    "chair": _chair,
    "lamp": _lamp,
    "rug": _rug,
}
