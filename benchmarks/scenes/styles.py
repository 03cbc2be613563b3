"""Styles of rooms: palette, texture, light, furniture. A style is a cluster of the data."""

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenes.classes import CLASSES

STYLES = 20
TEXTURES = ("plain", "stripes", "checks", "boards", "speckle")


@dataclass(frozen=True)
class Style:
    """palette: (classes, 3) colours, 0..1. textures: of floor and walls. furniture: names to choose from.

    light: its place as shares of the room, and its colour. ambient: share of light without direction.
    height, pitch: of the camera, metres and radians.
    """

    palette: NDArray[np.float64]
    floor_texture: str
    wall_texture: str
    texture_scale: float
    light: tuple[float, float, float]
    light_colour: tuple[float, float, float]
    ambient: float
    furniture: tuple[str, ...]
    height: float
    pitch: float
    room: tuple[float, float, float]


def make_styles(seed: int, count: int = STYLES) -> tuple[Style, ...]:
    """The same styles for a seed, whatever is rendered with them."""
    generator = np.random.default_rng([seed, 1])
    return tuple(_make_style(generator) for _ in range(count))


def _make_style(generator: np.random.Generator) -> Style:
    movable = ("bed", "cabinet", "table", "chair", "lamp", "rug", "picture")
    kept = generator.permutation(len(movable))[: int(generator.integers(4, 7))]
    warmth = generator.uniform(-0.12, 0.12)
    return Style(
        palette=_palette(generator),
        floor_texture=str(generator.choice(TEXTURES)),
        wall_texture=str(generator.choice(TEXTURES[:3])),
        texture_scale=float(generator.uniform(0.35, 0.9)),
        light=(
            float(generator.uniform(0.15, 0.85)),
            float(generator.uniform(0.8, 0.97)),
            float(generator.uniform(0.1, 0.7)),
        ),
        light_colour=(1.0 + warmth, 1.0, 1.0 - warmth),
        ambient=float(generator.uniform(0.3, 0.55)),
        furniture=tuple(movable[index] for index in sorted(kept)),
        height=float(generator.uniform(1.2, 2.0)),
        pitch=float(generator.uniform(-0.4, -0.15)),
        room=(
            float(generator.uniform(3.5, 5.5)),
            float(generator.uniform(2.4, 3.0)),
            float(generator.uniform(4.0, 6.0)),
        ),
    )


def _palette(generator: np.random.Generator) -> NDArray[np.float64]:
    """Walls and ceilings are pale, floors darker, furniture any hue: classes cannot be told by hue alone."""
    colours = []
    for name in CLASSES:
        hue = generator.random()
        if name in ("wall", "ceiling"):
            saturation, value = generator.uniform(0.05, 0.35), generator.uniform(0.7, 0.95)
        elif name == "floor":
            saturation, value = generator.uniform(0.2, 0.5), generator.uniform(0.4, 0.75)
        else:
            saturation, value = generator.uniform(0.3, 0.85), generator.uniform(0.35, 0.95)
        colours.append(colorsys.hsv_to_rgb(hue, saturation, value))
    return np.array(colours)
