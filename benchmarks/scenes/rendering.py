"""One room → image, labels, depth and normals, all from the same rays. H x W pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenes.arrangement import Room
from benchmarks.scenes.classes import NUMBER
from benchmarks.scenes.raycast import Floats, Hits, blocked, cast
from benchmarks.scenes.styles import Style

FIELD_OF_VIEW = 1.25
SENSOR_NOISE = 0.02


@dataclass(frozen=True)
class View:
    """What is really there. image (H, W, 3) 0..1; label (H, W); depth (H, W) metres along the camera's axis;
    normal (H, W, 3) unit, in the camera's axes (right, up, towards the viewer); solid (H, W)."""

    image: Floats
    label: NDArray[np.int64]
    depth: Floats
    normal: Floats
    solid: NDArray[np.int64]


def render(style: Style, room: Room, height: int, width: int, generator: np.random.Generator) -> View:
    """Lambert's law with one light, its shadows, ambient light and a little noise of the sensor."""
    axes = _camera_axes(room)
    directions = _pixel_rays(height, width) @ axes
    origins = np.broadcast_to(room.eye, directions.shape)
    hits = cast(origins, directions, room.corners, room.solids)
    points = origins + hits.distances[:, None] * directions
    labels = _labels(hits, room)
    colours = _surface_colours(style, room, hits, points, labels) * _light(style, room, hits, points)[:, None]
    colours = colours * np.array(style.light_colour)
    colours = colours + generator.normal(0.0, SENSOR_NOISE, colours.shape)
    shape = (height, width)
    return View(
        image=np.clip(colours, 0.0, 1.0).reshape(*shape, 3),
        label=labels.reshape(shape),
        depth=(hits.distances * (directions @ axes[2])).reshape(shape),
        normal=(hits.normals @ (axes * np.array([[1.0], [1.0], [-1.0]])).T).reshape(*shape, 3),
        solid=hits.solids.reshape(shape),
    )


def _camera_axes(room: Room) -> Floats:
    """Rows: right, up, forward, in world axes."""
    forward = np.array(
        [np.sin(room.yaw) * np.cos(room.pitch), np.sin(room.pitch), np.cos(room.yaw) * np.cos(room.pitch)]
    )
    right = np.array([np.cos(room.yaw), 0.0, -np.sin(room.yaw)])
    return np.stack([right, np.cross(forward, right), forward])


def _pixel_rays(height: int, width: int) -> Floats:
    """(H·W, 3) unit directions in the camera's axes (right, up, forward), row by row from the top."""
    reach = np.tan(FIELD_OF_VIEW / 2)
    across = (np.arange(width) + 0.5) / width * 2 - 1
    down = 1 - (np.arange(height) + 0.5) / height * 2
    x, y = np.meshgrid(across * reach, down * reach * height / width)
    rays = np.stack([x.ravel(), y.ravel(), np.ones(height * width)], axis=1)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    return rays


def _labels(hits: Hits, room: Room) -> NDArray[np.int64]:
    own = np.array([0, *[solid.label for solid in room.solids]])
    vertical = hits.normals[:, 1]
    shell = np.where(
        vertical > 0.5, NUMBER["floor"], np.where(vertical < -0.5, NUMBER["ceiling"], NUMBER["wall"])
    )
    return np.where(hits.solids == 0, shell, own[hits.solids]).astype(np.int64)


def _surface_colours(
    style: Style, room: Room, hits: Hits, points: Floats, labels: NDArray[np.int64]
) -> Floats:
    shades = np.array([1.0, *[solid.shade for solid in room.solids]])[hits.solids]
    floor = labels == NUMBER["floor"]
    wall = labels == NUMBER["wall"]
    along = np.where(np.abs(hits.normals[:, 0]) > 0.5, points[:, 2], points[:, 0])
    pattern = np.ones(len(points))
    pattern = np.where(
        floor, _texture(style.floor_texture, points[:, 0], points[:, 2], style.texture_scale), pattern
    )
    pattern = np.where(wall, _texture(style.wall_texture, along, points[:, 1], style.texture_scale), pattern)
    return style.palette[labels] * (shades * pattern)[:, None]


def _texture(name: str, across: Floats, along: Floats, scale: float) -> Floats:
    """Brightness factors around 1."""
    a, b = across / scale, along / scale
    if name == "stripes":
        return np.where(np.floor(a * 2) % 2 == 0, 1.1, 0.85)
    if name == "checks":
        return np.where((np.floor(a) + np.floor(b)) % 2 == 0, 1.12, 0.82)
    if name == "boards":
        return 0.85 + 0.3 * np.modf(np.abs(np.sin(np.floor(b * 3) * 12.9898) * 43758.5453))[0]
    if name == "speckle":
        cell = np.floor(a * 5) * 127.1 + np.floor(b * 5) * 311.7
        return 0.85 + 0.3 * np.modf(np.abs(np.sin(cell) * 43758.5453))[0]
    return np.ones(len(across))


def _light(style: Style, room: Room, hits: Hits, points: Floats) -> Floats:
    above = points + 1e-3 * hits.normals
    towards = room.light - above
    lengths = np.linalg.norm(towards, axis=1)
    towards = towards / lengths[:, None]
    facing = np.maximum((towards * hits.normals).sum(axis=1), 0.0)
    shadow = blocked(above, towards, lengths, room.solids)
    brightness: Floats = style.ambient + (1.15 - style.ambient) * facing * np.where(shadow, 0.25, 1.0)
    return brightness
